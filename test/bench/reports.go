package main

import (
	"bytes"
	"fmt"
)

// The calls have the headers and the form that the senders send.
const (
	signedHost    = "hooks.example.org"
	signedAccount = "environment-1234"
	contentType   = "application/x-www-form-urlencoded"

	idDigits = 12
)

// kind is one way to fail.
type kind struct{ state, code, extended, description string }

var kinds = []kind{
	{"rcptto", "550", "5.1.1", "550+5.1.1+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address+rejected%3A+User+unknown"},
	{"rcptto", "552", "5.2.2", "552+5.2.2+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+The+mailbox+is+over+its+quota"},
	{"rcptto", "450", "4.2.1", "450+4.2.1+The+user+you+are+trying+to+contact+is+receiving+mail+too+quickly"},
	{"data", "554", "5.7.1", "554+5.7.1+Message+rejected+because+of+unacceptable+content"},
	{"data", "451", "4.7.1", "451+4.7.1+Greylisting+in+action%2C+please+come+back+later"},
	{"mailfrom", "550", "5.7.26", "550+5.7.26+Unauthenticated+email+is+not+accepted+due+to+domain%27s+DMARC+policy"},
	{"bounce", "550", "5.4.4", "550+5.4.4+Host+or+domain+name+not+found"},
	{"bounce", "421", "4.4.2", "421+4.4.2+Connection+dropped"},
}

var campaigns = []string{"nieuwsbrief", "welkom", "factuur", "herinnering", "aanbieding"}

// typical is reports as a mailing makes them: of a few kinds and campaigns, and each with an id of its own.
type typical struct {
	requests []request
	sent     int
}

// request is one that is sent again and again with other digits in it.
type request struct {
	raw []byte
	id  []byte // in raw
}

func newTypical() *typical { return newRequests(typicalBodies()) }

func newRequests(bodies []string) *typical {
	t := new(typical)
	for _, body := range bodies {
		raw := []byte(head(len(body)) + "\r\n" + body)
		id := bytes.Index(raw, []byte("\r\n\r\nid=")) + len("\r\n\r\nid=")
		t.requests = append(t.requests, request{raw, raw[id : id+idDigits]})
	}
	return t
}

// typicalBodies returns forms whose id is zeros.
func typicalBodies() []string {
	var bodies []string
	for _, k := range kinds {
		for i, campaign := range campaigns {
			bodies = append(bodies, fmt.Sprintf("id=%0*d&type=failure&timestamp=2026-11-21+10%%3A14%%3A58&time=1795256098"+
				"&recipient=jan.jansen%%2Btest%%40voorbeeld.nl&action=failed&state=%s&code=%s&extended=%s&description=%s"+
				"&tags%%5B0%%5D=%s&tags%%5B1%%5D=week+%d", idDigits, 0, k.state, k.code, k.extended, k.description, campaign, 44+i))
		}
	}
	return bodies
}

// deliveredBodies returns forms of messages that were delivered, as both senders write them.
func deliveredBodies() []string {
	var bodies []string
	for _, answer := range []string{"", "&code=250&extended=2.0.0&description=250+2.0.0+Ok%3A+queued+as+4F2A81C0D3"} {
		for i, campaign := range campaigns {
			bodies = append(bodies, fmt.Sprintf("id=%0*d&type=delivery&timestamp=2026-11-21+10%%3A14%%3A58&time=1795256098"+
				"&recipient=jan.jansen%%2Btest%%40voorbeeld.nl%s&tags%%5B0%%5D=%s&tags%%5B1%%5D=week+%d", idDigits, 0, answer, campaign, 44+i))
		}
	}
	return bodies
}

// head is the request line and the headers of an unsigned call.
func head(length int) string {
	return fmt.Sprintf("POST /failures HTTP/1.1\r\nHost: %s\r\nUser-Agent: Copernica\r\nAccept: */*\r\nContent-Type: %s\r\nContent-Length: %d\r\n",
		signedHost, contentType, length)
}

func (t *typical) next() []byte {
	r := &t.requests[t.sent%len(t.requests)]
	digits(r.id, t.sent)
	t.sent++
	return r.raw
}

// digits writes a number over all of what is there.
func digits(over []byte, number int) {
	for i := len(over) - 1; i >= 0; i-- {
		over[i] = byte('0' + number%10)
		number /= 10
	}
}

// hostile is reports of which hardly two are alike: each has an id of its own, and one of so many tags and enhanced statuses.
type hostile struct {
	raw                      []byte
	id, tag, subject, detail []byte
	class                    []byte
	sent, distinct           int
}

// threeDigits is the number of numbers of three digits.
const threeDigits = 900

// newHostile makes as many distinct tags and statuses as are asked for, of the latter at most 1,620,000.
func newHostile(distinct int) *hostile {
	body := fmt.Sprintf("id=%0*d&type=failure&time=1795256098&recipient=jan.jansen%%40voorbeeld.nl&action=failed&state=rcptto&code=550"+
		"&extended=5.100.100&description=550+Recipient+address+rejected&tags%%5B0%%5D=campagne-%07d", idDigits, 0, 0)
	raw := []byte(head(len(body)) + "\r\n" + body)
	after := func(name string, skip, length int) []byte {
		at := bytes.Index(raw, []byte(name)) + len(name) + skip
		return raw[at : at+length]
	}
	return &hostile{
		raw: raw, distinct: distinct,
		id:      after("\r\nid=", 0, idDigits),
		class:   after("&extended=", 0, 1),
		subject: after("&extended=", 2, 3),
		detail:  after("&extended=", 6, 3),
		tag:     after("=campagne-", 0, 7),
	}
}

func (h *hostile) next() []byte {
	n := h.sent % h.distinct
	digits(h.id, h.sent)
	digits(h.tag, n)
	digits(h.detail, 100+n%threeDigits)
	digits(h.subject, 100+n/threeDigits%threeDigits)
	digits(h.class, 5-n/threeDigits/threeDigits)
	h.sent++
	return h.raw
}
