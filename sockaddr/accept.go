package sockaddr

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Accept takes a connection from a non-blocking listener. The fd that it answers
// is non-blocking and closes on exec, and the address is the client's. It fails
// with the kernel's error, see accept(2).
//
// unix.Accept4 asks the kernel once more for each connection, for a protocol
// that nobody wants to know.
func Accept(listener int) (fd int, client Addr, err error) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, Addr{}, errno
	}
	return int(n), fromRaw(&sa, size), nil
}

// fromRaw reads an address as the kernel writes it into memory; see ip(7),
// ipv6(7), unix(7) and vsock(7).
func fromRaw(sa *unix.RawSockaddrAny, size uint32) Addr {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(sa)), min(size, unix.SizeofSockaddrAny))
	switch family := int(sa.Addr.Family); {
	case family == unix.AF_INET && size >= unix.SizeofSockaddrInet4:
		return TCP(netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), binary.BigEndian.Uint16(raw[2:])))
	case family == unix.AF_INET6 && size >= unix.SizeofSockaddrInet6:
		ip := netip.AddrFrom16([16]byte(raw[8:24]))
		if zone := binary.NativeEndian.Uint32(raw[24:]); zone != 0 && !ip.Is4In6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(zone), 10))
		}
		return TCP(netip.AddrPortFrom(ip, binary.BigEndian.Uint16(raw[2:])))
	case family == unix.AF_UNIX:
		return Unix(unixPath(raw[2:]))
	case family == unix.AF_VSOCK && size >= unix.SizeofSockaddrVM:
		return Addr{Family: family, Port: binary.NativeEndian.Uint32(raw[4:]), CID: binary.NativeEndian.Uint32(raw[8:])}
	}
	return Addr{}
}

// unixPath reads sun_path: nothing, a path up to its NUL, or an abstract name
// behind a NUL.
func unixPath(raw []byte) string {
	switch {
	case len(raw) == 0:
		return ""
	case raw[0] == 0:
		return "@" + string(raw[1:])
	}
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	return string(raw)
}
