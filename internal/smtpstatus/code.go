package smtpstatus

// ParseCode reads an SMTP reply code: exactly three ASCII digits, 100 to 999. That is wider than
// the grammar of RFC 5321 section 4.2, which ends at 559, because servers use codes beyond it, such
// as 571. ok is false, and code 0, for anything else.
func ParseCode(s string) (code int, ok bool) {
	if len(s) != 3 || s[0] == '0' {
		return 0, false
	}
	return parseDigits(s)
}

// parseDigits reads a number of nothing but ASCII digits. The caller bounds their count.
func parseDigits(s string) (n int, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, s != ""
}

// codeCause returns the cause that a reply code shows by itself, "" where it shows none. 450, 550,
// 553 and 554 are used for any refusal, and 454 both for TLS and for relaying.
func codeCause(code int) string {
	switch code {
	case 421, 451, 452: // RFC 5321 section 4.2.3
		return serverError
	case 455, 500, 501, 502, 503, 504, 555:
		return protocolError
	case 551:
		return recipientUnknown
	case 422, 552: // 422 is no RFC's, but common usage
		return mailboxFull
	case 521, 556: // RFC 7504
		return domainNotFound
	case 432, 525, 530, 534, 535: // RFC 4954 section 6, RFC 5248 section 2.4
		return relayDenied
	case 523, 524, 538:
		return tlsRequired
	}
	return ""
}
