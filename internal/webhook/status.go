package webhook

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// readStatus reads code and extended. Each may hold what belongs in the other.
func (b *eventBuilder) readStatus() {
	code, codeOK := readStatusField(b.sent[fieldCode])
	extended, extendedOK := readStatusField(b.sent[fieldExtended])
	b.Code = cmp.Or(code.code, extended.code)
	b.Extended = cmp.Or(extended.enhanced, code.enhanced)
	if !codeOK || !b.agrees(code) {
		b.addUnreadable(fieldCode)
	}
	if !extendedOK || !b.agrees(extended) {
		b.addUnreadable(fieldExtended)
	}
}

func (b *eventBuilder) agrees(s status) bool {
	return (s.code == 0 || s.code == b.Code) && (s.enhanced.IsZero() || s.enhanced == b.Extended)
}

// readDescription reads what is missing from the start of the description.
func (b *eventBuilder) readDescription() {
	if b.Code != 0 && !b.Extended.IsZero() {
		return
	}
	found := readStatusText(b.Description)
	if b.Code == 0 && 400 <= found.code && found.code <= 599 {
		b.Code = found.code
	}
	if b.Extended.IsZero() && found.enhanced.Class >= 4 {
		b.Extended = found.enhanced
	}
}

// status is an SMTP status, of which either part may be missing.
type status struct {
	code     int
	enhanced smtpstatus.Enhanced
}

// readStatusField reads a variable that holds a status, and reports whether it can be read. Numbers
// count by their value (550.0, 5.5e2), and zero is no code.
func readStatusField(s string) (status, bool) {
	if s == "" {
		return status{}, true
	}
	if code, ok := smtpstatus.ParseCode(s); ok {
		return status{code: code}, true
	}
	if enhanced, ok := smtpstatus.ParseEnhanced(s); ok {
		return status{enhanced: enhanced}, true
	}
	if number, ok := parseNumber(s); ok {
		code, ok := smtpstatus.ParseCode(strconv.FormatFloat(number, 'f', -1, 64))
		return status{code: code}, ok || number == 0
	}
	found := readStatusText(s)
	return found, found != status{}
}

// diagnosticType is as in "smtp; 550 5.1.1 User unknown" (RFC 3464, section 2.3.6).
var diagnosticType = regexp.MustCompile(`^[A-Za-z -]{1,23};`)

// readStatusText reads the status that a text begins with, perhaps after a diagnostic type:
// "550 5.7.26 …", "550-5.7.26-…", "#5.1.1", "5.1.1 (text)".
func readStatusText(s string) (found status) {
	const opening, codeLength = " \t\r\n#(<[\"'", 3
	s = strings.TrimLeft(s[len(diagnosticType.FindString(s)):], opening)
	if code, ok := smtpstatus.ParseCode(s[:min(len(s), codeLength)]); ok && !goesOn.MatchString(s[codeLength:]) {
		found.code = code
		s = strings.TrimLeft(s[codeLength:], opening+"-:;,/")
	}
	rest := strings.TrimLeft(s, "0123456789.")
	if !goesOn.MatchString(rest) {
		enhanced := strings.TrimRight(s[:len(s)-len(rest)], ".")
		found.enhanced, _ = smtpstatus.ParseEnhanced(enhanced)
	}
	return found
}

// goesOn matches what makes a number before it part of something else.
var goesOn = regexp.MustCompile(`^([0-9A-Za-z_@]|[^\x00-\x7f]|\.[0-9])`)

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// oneSpelling returns a number as it is usually written, and any other text as it is.
func oneSpelling(s string) string {
	if strings.ContainsAny(s, ".eE+") {
		if number, ok := parseNumber(s); ok {
			return strconv.FormatFloat(number, 'f', -1, 64)
		}
	}
	return s
}

// parseNumber reads a decimal number, unlike ParseFloat no hexadecimal one and no word.
func parseNumber(s string) (float64, bool) {
	const maxLength = 64
	for i := range len(s) {
		if c := s[i]; i == maxLength || !isDigit(c) && c != '.' && c != '+' && c != '-' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	number, err := strconv.ParseFloat(s, 64)
	return number, err == nil
}
