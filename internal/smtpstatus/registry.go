package smtpstatus

// registration is a row of the IANA registry "Simple Mail Transfer Protocol (SMTP) Enhanced Status
// Codes", and the cause that servers mean by it: "" where they mean many. A specific one is trusted
// more than a weak phrase.
type registration struct {
	meaning  string
	cause    string
	specific bool
}

const (
	specific = true
	general  = false
)

// registry is the whole registry, by subject and by detail; the class is no part of a registration
// (RFC 3463 section 3). Each subject's details are contiguous and begin with 0, its "other or
// undefined". Comments name the RFC that registered a row. Where a registered text has a second
// clause or goes on for a sentence, the meaning is its first clause. What large receivers mean by a
// status in a sense of their own is in causes.txt, with the words that show it.
var registry = [...][]registration{
	0: { // Other or undefined status: RFC 3463 section 3.1
		0: {"Other undefined Status", "", general},
	},
	1: { // Addressing status: RFC 3463 section 3.2
		0: {"Other address status", recipientUnknown, general},
		1: {"Bad destination mailbox address", recipientUnknown, specific},
		2: {"Bad destination system address", domainNotFound, specific},
		3: {"Bad destination mailbox address syntax", recipientUnknown, specific},
		4: {"Destination mailbox address ambiguous", recipientUnknown, specific},
		5: {"Destination address valid", "", general},
		6: {"Destination mailbox has moved", recipientInactive, specific},
		7: {"Bad sender's mailbox address syntax", senderRejected, specific},
		8: {"Bad sender's system address", senderRejected, specific},
		// RFC 3886
		9: {"Message relayed to non-compliant mailer", "", general},
		// RFC 7505
		10: {"Recipient address has null MX", domainNotFound, specific},
	},
	2: { // Mailbox status: RFC 3463 section 3.3
		0: {"Other or undefined mailbox status", "", general},
		1: {"Mailbox disabled", recipientInactive, general},
		2: {"Mailbox full", mailboxFull, specific},
		3: {"Message length exceeds administrative limit", messageTooLarge, specific},
		4: {"Mailing list expansion problem", serverError, general},
	},
	3: { // Mail system status: RFC 3463 section 3.4
		0: {"Other or undefined mail system status", serverError, general},
		1: {"Mail system full", serverError, specific},
		2: {"System not accepting network messages", serverError, general},
		3: {"System not capable of selected features", protocolError, general},
		4: {"Message too big for system", messageTooLarge, specific},
		5: {"System incorrectly configured", serverError, specific},
		// RFC 6710
		6: {"Requested priority was changed", "", general},
	},
	4: { // Network and routing status: RFC 3463 section 3.5
		0: {"Other or undefined network or routing status", connectionFailed, general},
		1: {"No answer from host", connectionFailed, general},
		2: {"Bad connection", connectionFailed, specific},
		3: {"Directory server failure", connectionFailed, general},
		4: {"Unable to route", domainNotFound, general},
		5: {"Mail system congestion", serverError, general},
		6: {"Routing loop detected", mailLoop, specific},
		7: {"Delivery time expired", expired, general},
	},
	5: { // Mail delivery protocol status: RFC 3463 section 3.6
		0: {"Other or undefined protocol status", protocolError, general},
		1: {"Invalid command", protocolError, general},
		2: {"Syntax error", protocolError, general},
		3: {"Too many recipients", rateLimited, specific},
		4: {"Invalid command arguments", protocolError, general},
		5: {"Wrong protocol version", protocolError, specific},
		// RFC 4954
		6: {"Authentication Exchange line is too long", protocolError, specific},
	},
	6: { // Message content or media status: RFC 3463 section 3.7
		0: {"Other or undefined media error", contentRejected, general},
		1: {"Media not supported", contentRejected, specific},
		2: {"Conversion required and prohibited", contentRejected, specific},
		3: {"Conversion required but not supported", contentRejected, specific},
		4: {"Conversion with loss performed", contentRejected, specific},
		5: {"Conversion Failed", contentRejected, specific},
		// RFC 4468
		6: {"Message content not available", contentRejected, general},
		// RFC 6531 from here on. The registry calls X.6.10 a deprecated duplicate of X.6.8.
		7:  {"Non-ASCII addresses not permitted", contentRejected, specific},
		8:  {"UTF-8 string reply required but not permitted", contentRejected, specific},
		9:  {"UTF-8 header message cannot be transferred", contentRejected, specific},
		10: {"UTF-8 string reply required but not permitted", contentRejected, specific},
	},
	7: { // Security or policy status: RFC 3463 section 3.8
		0: {"Other or undefined security status", policy, general},
		1: {"Delivery not authorized, message refused", policy, general},
		2: {"Mailing list expansion prohibited", recipientRestricted, specific},
		3: {"Security conversion required but not possible", tlsRequired, general},
		4: {"Security features not supported", tlsRequired, general},
		5: {"Cryptographic failure", tlsRequired, general},
		6: {"Cryptographic algorithm not supported", tlsRequired, general},
		7: {"Message integrity failure", authenticationFailed, general},
		// RFC 4954
		8: {"Authentication credentials invalid", relayDenied, specific},
		9: {"Authentication mechanism too weak", relayDenied, general},
		// RFC 5248
		10: {"Encryption Needed", tlsRequired, specific},
		// RFC 4954
		11: {"Encryption required for requested authentication mechanism", tlsRequired, specific},
		12: {"Password transition needed", relayDenied, specific},
		// RFC 5248
		13: {"User Account Disabled", relayDenied, general},
		14: {"Trust relationship required", relayDenied, general},
		// RFC 6710
		15: {"Priority level too low", policy, general},
		16: {"Message too big for the specified priority", messageTooLarge, specific},
		// RFC 7293
		17: {"Mailbox owner has changed", recipientInactive, specific},
		18: {"Domain owner has changed", recipientInactive, specific},
		19: {"RRVS test cannot be completed", policy, general},
		// RFC 7372
		20: {"No passing DKIM signature found", authenticationFailed, specific},
		21: {"No acceptable DKIM signature found", authenticationFailed, specific},
		22: {"No valid author-matched DKIM signature found", authenticationFailed, specific},
		23: {"SPF validation failed", authenticationFailed, specific},
		24: {"SPF validation error", authenticationFailed, specific},
		25: {"Reverse DNS validation failed", reverseDNS, specific},
		26: {"Multiple authentication checks failed", authenticationFailed, specific},
		// RFC 7505
		27: {"Sender address has null MX", senderRejected, specific},
		// under RFC 5248 section 2.2
		28: {"Mail flood detected", rateLimited, specific},
		// RFC 8617
		29: {"ARC validation failure", authenticationFailed, specific},
		// RFC 8689
		30: {"REQUIRETLS support required", tlsRequired, specific},
	},
}

// registered returns e's row, without regard to the class.
func (e Enhanced) registered() (r registration, ok bool) {
	if e.IsZero() || int(e.Subject) >= len(registry) || int(e.Detail) >= len(registry[e.Subject]) {
		return registration{}, false
	}
	return registry[e.Subject][e.Detail], true
}

// cause returns what e says by itself, "" if that is nothing, and whether it means no more than
// that one cause. An unregistered detail, such as Microsoft's 5.7.51, says what X.n.0 does.
func (e Enhanced) cause() (cause string, specific bool) {
	if r, ok := e.registered(); ok {
		return r.cause, r.specific
	}
	e.Detail = 0
	r, _ := e.registered()
	return r.cause, false
}
