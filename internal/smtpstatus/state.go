package smtpstatus

import "strings"

// stateCauses has the states of the sender's MTA that tell a cause by themselves. Before there is a
// session its own steps ("process", "personalize" and such) tell none, and those of the mail
// transaction fail for any reason.
var stateCauses = []struct{ state, cause string }{
	{"suppression", suppressed},
	{"dns", connectionFailed}, // what will not pass is told by phrase
	{"bind", connectionFailed},
	{"connect", connectionFailed},
	{"handshake", connectionFailed},
	{"intro", connectionFailed},
	{"ehlo", connectionFailed},
	{"helo", connectionFailed},
	{"idle", connectionFailed},
	{"starttls", tlsRequired},
	{"authplain", relayDenied},
	{"authlogin", relayDenied},
	{"authusername", relayDenied},
	{"authpassword", relayDenied},
	{"authcram", relayDenied},
	{"authresponse", relayDenied},
}

// stateCause returns "" for a state that tells no cause. Upper and lower case are alike, since
// people who try the webhook by hand type it as they like.
func stateCause(state string) string {
	for _, s := range stateCauses {
		if strings.EqualFold(s.state, state) {
			return s.cause
		}
	}
	return ""
}
