// An ordinary Go server: PORT, and "http" or "lines".
//
// It listens as every Go program does, which from Go 1.24 on, or with GODEBUG=multipathtcp=1, means with MPTCP. "http"
// answers requests with the port. "lines" answers a connection's first line with the port and both ends, and echoes the
// later ones. It says "ready" on stdout once it listens, and ends with its stdin.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	port := os.Args[1]
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	go serve(listener, port, os.Args[2] == "http")
	_, _ = io.Copy(io.Discard, os.Stdin)
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
