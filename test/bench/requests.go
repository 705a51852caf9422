package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

// requests returns the next request as it goes over the wire, which is valid until the next call,
// or nil when there are no more.
type requests func() []byte

// limited returns the next n requests.
func limited(n int, next requests) requests {
	return func() []byte {
		if n == 0 {
			return nil
		}
		n--
		return next()
	}
}

const (
	idDigits = 12
	keyBits  = 2048 // the size of the sender's keys
)

// setDigits writes a number over all of a slice.
func setDigits(over []byte, number int) {
	for i := len(over) - 1; i >= 0; i-- {
		over[i] = byte('0' + number%10)
		number /= 10
	}
}

// unsigned returns a request without a signature.
func unsigned(body string) []byte {
	return fmt.Appendf(nil, "POST /failures HTTP/1.1\r\nHost: %s\r\nUser-Agent: Copernica\r\nAccept: */*\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", signaturetest.Host, len(body), body)
}

// numbered repeats bodies that begin with an id of zeros, each time with another id.
func numbered(bodies []string) requests {
	var all, ids [][]byte
	for _, body := range bodies {
		request := unsigned(body)
		at := len(request) - len(body) + len("id=")
		all, ids = append(all, request), append(ids, request[at:at+idDigits])
	}
	sent := 0
	return func() []byte {
		i := sent % len(all)
		setDigits(ids[i], sent)
		sent++
		return all[i]
	}
}

// presigned signs n requests of the bodies, each with another id, and returns them one by one.
func presigned(ctx context.Context, bodies []string, n int) requests {
	key := signaturetest.Key(keyBits, "")
	all := make([][]byte, n)
	var signing sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		signing.Go(func() {
			for i := worker; i < n && ctx.Err() == nil; i += workers {
				body := []byte(bodies[i%len(bodies)])
				setDigits(body[len("id="):][:idDigits], i)
				request := signaturetest.NewRequest(key, string(body))
				request.Add("User-Agent", "Copernica")
				request.Add("Accept", "*/*")
				all[i] = []byte(request.Sign().Raw())
			}
		})
	}
	signing.Wait()
	check(context.Cause(ctx))
	next := 0
	return func() []byte {
		if next == n {
			return nil
		}
		next++
		return all[next-1]
	}
}

var campaigns = []string{"nieuwsbrief", "welkom", "factuur", "herinnering", "aanbieding"}

// failureBodies are failures as a mailing causes them: of a few kinds and campaigns.
func failureBodies() []string {
	var bodies []string
	for _, kind := range []struct{ state, code, extended, description string }{
		{"rcptto", "550", "5.1.1", "%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address+rejected%3A+User+unknown"},
		{"rcptto", "552", "5.2.2", "%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+The+mailbox+is+over+its+quota"},
		{"rcptto", "450", "4.2.1", "The+user+you+are+trying+to+contact+is+receiving+mail+too+quickly"},
		{"data", "554", "5.7.1", "Message+rejected+because+of+unacceptable+content"},
		{"data", "451", "4.7.1", "Greylisting+in+action%2C+please+come+back+later"},
		{"mailfrom", "550", "5.7.26", "Unauthenticated+email+is+not+accepted+due+to+domain%27s+DMARC+policy"},
		{"bounce", "550", "5.4.4", "Host+or+domain+name+not+found"},
		{"bounce", "421", "4.4.2", "Connection+dropped"},
	} {
		for i, campaign := range campaigns {
			bodies = append(bodies, fmt.Sprintf("id=%0*d&type=failure&timestamp=2026-11-21+10%%3A14%%3A58&time=1795256098"+
				"&recipient=jan.jansen%%2Btest%%40voorbeeld.nl&action=failed&state=%s&code=%s&extended=%s"+
				"&description=%s&tags%%5B0%%5D=%s&tags%%5B1%%5D=week+%d", idDigits, 0, kind.state, kind.code, kind.extended,
				kind.code+"+"+kind.extended+"+"+kind.description, campaign, 44+i))
		}
	}
	return bodies
}

// deliveryBodies are deliveries as the two products of the sender report them.
func deliveryBodies() []string {
	var bodies []string
	for _, response := range []string{"", "&code=250&extended=2.0.0&description=250+2.0.0+Ok%3A+queued+as+4F2A81C0D3"} {
		for i, campaign := range campaigns {
			bodies = append(bodies, fmt.Sprintf("id=%0*d&type=delivery&timestamp=2026-11-21+10%%3A14%%3A58&time=1795256098"+
				"&recipient=jan.jansen%%2Btest%%40voorbeeld.nl%s&tags%%5B0%%5D=%s&tags%%5B1%%5D=week+%d",
				idDigits, 0, response, campaign, 44+i))
		}
	}
	return bodies
}

// distinct returns failures of which each has an id of its own and one of n tags and enhanced
// statuses. There are 1,620,000 statuses.
func distinct(n int) requests {
	sent := 0
	return func() []byte {
		kind := sent % n
		status := fmt.Sprintf("%d.%d.%d", 5-kind/810_000, 100+kind/900%900, 100+kind%900)
		sent++
		return unsigned(fmt.Sprintf("id=%0*d&type=failure&time=1795256098&recipient=jan.jansen%%40voorbeeld.nl&action=failed"+
			"&state=rcptto&code=550&extended=%s&description=550+Recipient+address+rejected&tags%%5B0%%5D=campagne-%07d",
			idDigits, sent, status, kind))
	}
}
