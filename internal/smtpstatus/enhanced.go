// Package smtpstatus says what a failed delivery's SMTP status means: how lasting the failure is
// (Class) and why it happened (Causes), from the description, the enhanced status code of RFC 3463,
// the reply code of RFC 5321 and the state of the SMTP conversation. It is tables and the rules to
// read them: no I/O, no state, safe for concurrent use.
package smtpstatus

import (
	"strconv"
	"strings"
)

// Enhanced is an enhanced mail system status code, RFC 3463 section 2. The zero value means "none".
// In a value from ParseEnhanced, Class is 2, 4 or 5 and Subject and Detail are 0 to 999.
type Enhanced struct{ Class, Subject, Detail uint16 }

// ParseEnhanced reads class "." subject "." detail as RFC 3463 section 2 has it: the class is 2, 4
// or 5; subject and detail are one to three ASCII digits without leading zeros. ok is false, and e
// the zero value, for anything else, white space and comments included.
func ParseEnhanced(s string) (e Enhanced, ok bool) {
	class, rest, _ := strings.Cut(s, ".")
	first, second, _ := strings.Cut(rest, ".")
	subject, ok := subCode(first)
	detail, ok2 := subCode(second)
	if !ok || !ok2 || class != "2" && class != "4" && class != "5" {
		return Enhanced{}, false
	}
	return Enhanced{Class: uint16(class[0] - '0'), Subject: subject, Detail: detail}, true
}

func subCode(s string) (uint16, bool) {
	if len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, ok := parseDigits(s)
	return uint16(n), ok
}

// IsZero reports whether e is the zero value, which means that there is no enhanced status.
func (e Enhanced) IsZero() bool { return e == Enhanced{} }

// String returns e as it is written in an SMTP reply, such as "5.1.1", and "" for the zero value.
func (e Enhanced) String() string {
	if e.IsZero() {
		return ""
	}
	return strconv.Itoa(int(e.Class)) + "." + strconv.Itoa(int(e.Subject)) + "." + strconv.Itoa(int(e.Detail))
}

// Meaning returns the registered meaning of e's subject and detail in words, such as "Bad
// destination mailbox address"; the class is no part of it. ok is false, and the meaning "", for
// what is not in the registry and for the zero value.
func (e Enhanced) Meaning() (meaning string, ok bool) {
	r, ok := e.registered()
	return r.meaning, ok
}
