package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const (
	keyBits = 2048
	keyName = "bench._domainkey.copernica.com"
)

// signed is calls that were signed before the first of them is sent.
type signed struct {
	calls [][]byte
}

func (s *signed) next() []byte {
	if len(s.calls) == 0 {
		return nil
	}
	call := s.calls[0]
	s.calls = s.calls[1:]
	return call
}

// take takes some of the calls away.
func (s *signed) take(n int) *signed {
	n = min(n, len(s.calls))
	taken := &signed{s.calls[:n]}
	s.calls = s.calls[n:]
	return taken
}

// sign signs so many calls of the bodies.
func sign(ctx context.Context, key *rsa.PrivateKey, bodies []string, n int) ([][]byte, error) {
	calls := make([][]byte, n)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var working sync.WaitGroup
	for worker := range errs {
		working.Go(func() {
			for i := worker; i < n && errs[worker] == nil; i += len(errs) {
				body := []byte(bodies[i%len(bodies)])
				digits(body[len("id="):][:idDigits], i)
				if errs[worker] = context.Cause(ctx); errs[worker] == nil {
					calls[i], errs[worker] = signCall(key, body)
				}
			}
		})
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return calls, nil
}

// signCall returns a call as the senders make it.
func signCall(key *rsa.PrivateKey, body []byte) ([]byte, error) {
	digest := sha256.Sum256(body)
	headers := [][2]string{
		{"Host", signedHost},
		{"Date", time.Now().UTC().Format(http.TimeFormat)},
		{"Content-Length", strconv.Itoa(len(body))},
		{"Content-Type", contentType},
		{"X-Copernica-ID", signedAccount},
		{"Digest", "SHA-256=" + base64.StdEncoding.EncodeToString(digest[:])},
		{"X-Nonce", rand.Text()},
	}
	lines := []string{"(request-target): post /failures"}
	covered := []string{"(request-target)"}
	var call strings.Builder
	call.WriteString("POST /failures HTTP/1.1\r\nUser-Agent: Copernica\r\nAccept: */*\r\n")
	for _, header := range headers {
		name := strings.ToLower(header[0])
		lines = append(lines, name+": "+header[1])
		covered = append(covered, name)
		fmt.Fprintf(&call, "%s: %s\r\n", header[0], header[1])
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&call, "Signature: keyId=\"%s\",algorithm=\"rsa-sha256\",headers=\"%s\",signature=\"%s\"\r\n\r\n",
		keyName, strings.Join(covered, " "), base64.StdEncoding.EncodeToString(signature))
	return append([]byte(call.String()), body...), nil
}

// measureVerify returns the time of a processor that it takes to verify a signature, and nothing else.
func measureVerify(key *rsa.PrivateKey, duration time.Duration) (time.Duration, error) {
	sum := sha256.Sum256([]byte("what was signed"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	if err != nil {
		return 0, err
	}
	n := 0
	for end := time.Now().Add(duration); time.Now().Before(end); n++ {
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
			return 0, err
		}
	}
	ended, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	return (ended - began) / time.Duration(n), err
}

func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("clock %d: %w", id, err)
	}
	return time.Duration(t.Nano()), nil
}

// serveKey starts a DNS server that has the key, and returns its address.
func serveKey(key *rsa.PublicKey) (address string, stop func(), err error) {
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", nil, err
	}
	var record []string
	for part := range slices.Chunk([]byte("v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(public)), 255) {
		record = append(record, string(part))
	}
	connection, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &dns.Server{PacketConn: connection, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		message := new(dns.Msg).SetReply(question)
		message.RecursionAvailable = true
		if strings.EqualFold(question.Question[0].Name, keyName+".") {
			header := dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 3600}
			message.Answer = []dns.RR{&dns.TXT{Hdr: header, Txt: record}}
		} else {
			message.Rcode = dns.RcodeNameError
		}
		// Who asked may be gone.
		_ = w.WriteMsg(message)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It ends when it is stopped.
		_ = server.ActivateAndServe()
	}()
	return connection.LocalAddr().String(), func() {
		_ = connection.Close()
		<-ended
	}, nil
}
