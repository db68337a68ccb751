// An ordinary Go server: PORT, and "http" or "lines".
//
// It listens as every Go program does, which from Go 1.24 on, or with GODEBUG=multipathtcp=1, means with MPTCP. A third
// word makes a Go do so that knows nothing of it. "http" answers requests with the port. "lines" answers a connection's first line with the port and both ends, and echoes the
// later ones. It says "ready" on stdout once it listens, and ends with its stdin.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
)

const protocolMPTCP = 262

func main() {
	port := os.Args[1]
	listener, err := listen(port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	go serve(listener, port, os.Args[2] == "http")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func listen(port string) (net.Listener, error) {
	if len(os.Args) < 4 {
		return net.Listen("tcp", ":"+port)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	socket, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, protocolMPTCP)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(socket), "listener")
	defer file.Close()
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, err
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet6{Port: number}); err != nil {
		return nil, err
	}
	if err := syscall.Listen(socket, syscall.SOMAXCONN); err != nil {
		return nil, err
	}
	return net.FileListener(file)
}

func serve(listener net.Listener, port string, isHTTP bool) {
	if isHTTP {
		answer := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, port) }
		fmt.Println(http.Serve(listener, http.HandlerFunc(answer)))
		return
	}
	for {
		connection, err := listener.Accept()
		if err == nil {
			go lines(connection, port)
		}
	}
}

func lines(connection net.Conn, port string) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	if _, err := reader.ReadString('\n'); err != nil {
		return
	}
	peer, local := connection.RemoteAddr().(*net.TCPAddr), connection.LocalAddr().(*net.TCPAddr)
	fmt.Fprintf(connection, "%s %s %d %s %d\n", port, peer.IP, peer.Port, local.IP, local.Port)
	_, _ = io.Copy(connection, reader)
}
