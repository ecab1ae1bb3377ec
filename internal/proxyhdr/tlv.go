package proxyhdr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/pires/go-proxyproto"
)

// tlvSize is the size of a TLV without its value: type, and length of the value.
const tlvSize = 3

// checkTLVs walks the TLVs that follow the addresses of the header b, from at to
// its end. They must fill that exactly, and each checksum among them must be
// right; what else they say is not looked at.
func checkTLVs(b []byte, at int) error {
	for at < len(b) {
		value := at + tlvSize
		if value > len(b) {
			return fmt.Errorf("PROXY header of %d bytes with a cut TLV at byte %d", len(b), at)
		}
		kind, size := proxyproto.PP2Type(b[at]), int(binary.BigEndian.Uint16(b[at+1:]))
		if value+size > len(b) {
			return fmt.Errorf("PROXY header of %d bytes with a TLV of %d at byte %d", len(b), size, at)
		}
		if kind == proxyproto.PP2_TYPE_CRC32C {
			if err := checkSum(b, value, size); err != nil {
				return err
			}
		}
		at = value + size
	}
	return nil
}

// checkSum compares the checksum at a place in the header b with the CRC32c of
// all of b with zeros in that place (section 2.2.3 of the specification; in
// network byte order, as HAProxy has it).
func checkSum(b []byte, at, size int) error {
	if size != crc32.Size {
		return fmt.Errorf("PROXY header with a CRC32c checksum of %d bytes; it has %d", size, crc32.Size)
	}
	sum := crc32.Checksum(b[:at], crc32.MakeTable(crc32.Castagnoli))
	sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), make([]byte, crc32.Size))
	sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b[at+size:])
	if got := binary.BigEndian.Uint32(b[at:]); got != sum {
		return fmt.Errorf("PROXY header with CRC32c checksum %08x; its bytes have %08x", got, sum)
	}
	return nil
}
