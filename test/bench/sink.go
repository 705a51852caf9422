package main

import (
	"io"
	"net"
	"net/http"
)

// startSink starts a backend that takes all it gets at once, and returns its URL.
func startSink() (url string, stop func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: deadline, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(http.StatusOK)
	})}
	go func() {
		// It ends when it is closed.
		_ = server.Serve(listener)
	}()
	return "http://" + listener.Addr().String(), server.Close, nil
}
