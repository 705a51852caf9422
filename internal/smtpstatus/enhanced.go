// Package smtpstatus says what a failed delivery's SMTP status means: how lasting the failure is (Class) and why it
// happened (Reason, Cause), from the enhanced mail system status code of RFC 3463, the reply code of RFC 5321 and the state
// of the SMTP conversation, in that order of trust.
//
// It is tables and the rules to read them: no I/O, no state, nothing to configure, safe for concurrent use. What
// Reason returns is a closed list, so that it can be a metric attribute whatever a remote server sends.
//
// It leaves to others to find a status in the text of an answer, to keep values that it does not accept, and to decide
// what to do about a failure: that an address is to be suppressed, say, does not follow from a class or a reason alone.
package smtpstatus

import "strconv"

// Enhanced is an enhanced mail system status code, RFC 3463 section 2. The zero value means "none". In a value from
// ParseEnhanced, Class is 2, 4 or 5 and Subject and Detail are 0 to 999; other values can be made but are in no registry.
type Enhanced struct{ Class, Subject, Detail uint16 }

// ParseEnhanced reads class "." subject "." detail as RFC 3463 section 2 has it: the class is 2, 4 or 5; subject and
// detail are one to three ASCII digits without leading zeros. ok is false, and e the zero value, for anything else,
// white space and comments included.
func ParseEnhanced(s string) (e Enhanced, ok bool) {
	// The shortest is "5.0.0"; what is too long is refused by subCode, which reads no more than it may.
	if len(s) < 5 || s[1] != '.' {
		return Enhanced{}, false
	}
	if s[0] != '2' && s[0] != '4' && s[0] != '5' {
		return Enhanced{}, false
	}
	subject, rest, ok := subCode(s[2:])
	if !ok || rest == "" || rest[0] != '.' {
		return Enhanced{}, false
	}
	detail, rest, ok := subCode(rest[1:])
	if !ok || rest != "" {
		return Enhanced{}, false
	}
	return Enhanced{Class: uint16(s[0] - '0'), Subject: subject, Detail: detail}, true
}

// subCode reads the one to three digits that s begins with. A fourth digit is left in rest, where no caller takes it.
func subCode(s string) (n uint16, rest string, ok bool) {
	i := 0
	for i < len(s) && i < 3 && '0' <= s[i] && s[i] <= '9' {
		n = n*10 + uint16(s[i]-'0')
		i++
	}
	if i == 0 || (i > 1 && s[0] == '0') {
		return 0, "", false
	}
	return n, s[i:], true
}

// IsZero reports whether e is the zero value, which means that there is no enhanced status.
func (e Enhanced) IsZero() bool { return e == Enhanced{} }

// String returns e as it is written in an SMTP answer, such as "5.1.1", and "" for the zero value. ParseEnhanced reads
// back the same value where it accepts the class and the numbers.
func (e Enhanced) String() string {
	if e.IsZero() {
		return ""
	}
	if int(e.Subject) < len(written) && int(e.Detail) < len(written[e.Subject]) && e.Class <= maxClass {
		return written[e.Subject][e.Detail][e.Class]
	}
	return e.write()
}

// maxClass is the greatest class there is, RFC 3463 section 3.
const maxClass = 5

// written holds what is registered as it is written, by subject, detail and class: it is asked for twice for each report.
var written = func() (all [len(registry)][][maxClass + 1]string) {
	for subject, details := range registry {
		all[subject] = make([][maxClass + 1]string, len(details))
		for detail := range details {
			for class := range all[subject][detail] {
				all[subject][detail][class] = Enhanced{Class: uint16(class), Subject: uint16(subject), Detail: uint16(detail)}.write()
			}
		}
	}
	return all
}()

func (e Enhanced) write() string {
	var buf [len("65535.65535.65535")]byte
	b := strconv.AppendUint(buf[:0], uint64(e.Class), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(e.Subject), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(e.Detail), 10)
	return string(b)
}

// Meaning returns the registered meaning of e's subject and detail in words, as in "Bad destination mailbox address";
// the class is no part of it. ok is false, and the meaning "", for what is not in the registry and for the zero value.
func (e Enhanced) Meaning() (meaning string, ok bool) {
	r, ok := e.registered()
	return r.meaning, ok
}
