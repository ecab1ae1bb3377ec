package main_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"syscall"
)

// fakecat is a backend that listens as ncat does: -l -p PORT, for one client,
// or with -k for all who come. It answers each line with its pid before it; with
// -broker the others get the line. It does not return.
func fakecat() {
	flags := flag.NewFlagSet("fakecat", flag.ExitOnError)
	listen := flags.Bool("l", false, "listen")
	keep := flags.Bool("k", false, "keep listening")
	port := flags.String("p", "", "port")
	ipv4 := flags.Bool("4", false, "IPv4 only")
	broker := flags.Bool("broker", false, "have each line heard by the others")
	verbose := flags.Bool("v", false, "say what happens")
	_ = flags.Parse(os.Args[1:])
	network := "tcp"
	if *ipv4 {
		network = "tcp4"
	}
	l, err := net.Listener(nil), error(nil)
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) { // it is given its socket
		l, err = net.FileListener(os.NewFile(3, os.Getenv("LISTEN_FDNAMES")))
	} else {
		l, err = net.Listen(network, "127.0.0.1:"+*port)
	}
	if err != nil || !*listen {
		log.Fatal("fakecat: ", err)
	}
	if *verbose {
		dir, _ := os.Getwd()
		fmt.Fprintln(os.Stderr, "fakecat: listening in", dir)
	}
	all := room{here: map[net.Conn]bool{}}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal("fakecat: ", err)
		}
		if *broker {
			go all.join(conn)
			continue
		}
		if !*keep {
			l.Close()
			answer(conn, os.Getpid())
			os.Exit(0)
		}
		go answer(conn, os.Getpid())
	}
}

// answer sends each line back with a number before it.
func answer(conn io.ReadWriteCloser, number int) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fmt.Fprintln(conn, number, lines.Text())
	}
}

// socketUnit becomes tiproxy as systemd starts it: LISTEN_PID is the pid of the
// process itself. It does not return.
func socketUnit() {
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	args := append([]string{"tiproxy"}, os.Args[2:]...)
	log.Fatal(syscall.Exec(os.Args[1], args, os.Environ()))
}
