package webhook

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// readStatus reads code and extended. Each may say what the other is for.
func (r *reading) readStatus() {
	code, ok := readStatusField(r.sent[sentCode])
	extended, extendedOK := readStatusField(r.sent[sentExtended])
	if r.Code = code.code; r.Code == 0 {
		r.Code = extended.code
	}
	if r.Extended = extended.enhanced; r.Extended.IsZero() {
		r.Extended = code.enhanced
	}
	// What is told twice and differs is not lost.
	if !ok || !r.agrees(code) {
		r.unreadable(sentCode)
	}
	if !extendedOK || !r.agrees(extended) {
		r.unreadable(sentExtended)
	}
}

func (r *reading) agrees(s status) bool {
	return (s.code == 0 || s.code == r.Code) && (s.enhanced.IsZero() || s.enhanced == r.Extended)
}

// readDescription takes what code and extended do not say from the start of the description. It speaks of a failure.
func (r *reading) readDescription() {
	if r.Code != 0 && !r.Extended.IsZero() {
		return
	}
	found := readStatusText(r.Description)
	if r.Code == 0 && 400 <= found.code && found.code <= 599 {
		r.Code = found.code
	}
	if r.Extended.IsZero() && found.enhanced.Class >= 4 {
		r.Extended = found.enhanced
	}
}

// status is an SMTP status, in which either may be missing.
type status struct {
	code     int
	enhanced smtpstatus.Enhanced
}

// readStatusField reads a variable that is a status and nothing else, and reports whether there is nothing in it that cannot
// be read. A number is what it is worth (550.0, 5.5e2), and zero is none.
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

// readStatusText reads the status that a text begins with: "550 5.7.26 …", "550-5.7.26-…", "#5.1.1", "5.1.1 (text)", or one of
// these after the type of a diagnostic code (RFC 3464, section 2.3.6), as in "smtp; 550 5.1.1 User unknown".
func readStatusText(s string) (found status) {
	const opening = " \t\r\n#(<[\"'"
	head := s[:min(len(s), maxDiagnosticType)]
	if end := strings.IndexByte(head, ';'); end > 0 && strings.Trim(head[:end], diagnosticType) == "" {
		s = s[end+1:]
	}
	s = strings.TrimLeft(s, opening)
	if code, ok := smtpstatus.ParseCode(s[:min(len(s), codeLength)]); ok && !goesOn(s[codeLength:]) {
		found.code = code
		s = strings.TrimLeft(s[codeLength:], opening+"-:;,/")
	}
	end := 0
	for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
		end++
	}
	if !goesOn(s[end:]) {
		found.enhanced, _ = smtpstatus.ParseEnhanced(strings.TrimRight(s[:end], "."))
	}
	return found
}

// A diagnostic code's type is a short word.
const (
	maxDiagnosticType = 24
	diagnosticType    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ- "
)

const codeLength = 3

// goesOn reports whether a number that is followed by this is part of something else.
func goesOn(rest string) bool {
	if rest == "" {
		return false
	}
	c := rest[0]
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '@' || c >= utf8.RuneSelf ||
		c == '.' && len(rest) > 1 && isDigit(rest[1])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// oneSpelling returns a number as it is usually written, and any other text as it is.
func oneSpelling(s string) string {
	if strings.ContainsAny(s, ".eE+") {
		if number, ok := parseNumber(s); ok {
			return strconv.FormatFloat(number, 'f', -1, 64)
		}
	}
	return s
}

// parseNumber reads a decimal number as JSON has it.
func parseNumber(s string) (float64, bool) {
	const most = 64
	if len(s) > most {
		return 0, false
	}
	for i := range len(s) {
		// Not what else ParseFloat reads.
		if c := s[i]; !isDigit(c) && c != '.' && c != '+' && c != '-' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	number, err := strconv.ParseFloat(s, 64)
	return number, err == nil
}
