package smtpstatus

import "strings"

// stateCause returns the cause that a state of the sender's MTA shows by itself, "" where it shows
// none: the steps before there is a session ("process", "personalize" and such), and those of the
// mail transaction, which fail for any reason. Case does not matter.
func stateCause(state string) string {
	switch strings.ToLower(state) {
	case "suppression":
		return suppressed
	case "dns", "bind", "connect", "handshake", "intro", "ehlo", "helo", "idle":
		return connectionFailed // a domain that does not exist is shown by a phrase
	case "starttls":
		return tlsRequired
	case "authplain", "authlogin", "authusername", "authpassword", "authcram", "authresponse":
		return relayDenied
	}
	return ""
}
