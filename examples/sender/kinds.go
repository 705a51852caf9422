package main

// kind is one way for a delivery to fail, with what the sender says of it. An empty field is a
// variable that is not sent.
type kind struct {
	weight   int
	state    string
	code     string
	extended string
	// text is the description. RCPT stands for the recipient's address, HOST for the provider's
	// mail server.
	text string
}

// bounce is the state of a failure that came back later, as a message.
const bounce = "bounce"

var everyday = []kind{
	{280, "rcptto", "550", "5.1.1", "550 5.1.1 <RCPT>: Recipient address rejected: User unknown in virtual mailbox table"},
	{70, bounce, "550", "5.1.1", "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Please check the address for typing errors."},
	{20, "rcptto", "556", "5.1.10", "556 5.1.10 <RCPT>: Recipient address rejected: Domain does not accept mail (null MX)"},
	{25, "rcptto", "550", "5.1.2", "550 5.1.2 <RCPT>: Bad destination host"},
	{80, "rcptto", "452", "4.2.2", "452 4.2.2 The recipient's inbox is out of storage space"},
	{75, "rcptto", "552", "5.2.2", "552 5.2.2 <RCPT>: Mailbox size limit exceeded"},
	{25, bounce, "552", "5.2.2", "552 5.2.2 Over quota"},
	{50, "rcptto", "550", "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled"},
	{40, "message", "550", "5.7.1", "550 5.7.1 Message rejected by the policy of HOST"},
	{20, "message", "554", "5.7.1", "554 5.7.1 Our content filter takes this message for spam"},
	{15, "message", "550", "5.7.26", "550 5.7.26 This message passed neither SPF nor DKIM, which the sender's domain asks for"},
	{60, "intro", "421", "4.7.0", "421 4.7.0 HOST Too many connections from your address, try again later"},
	{80, "rcptto", "451", "4.7.1", "451 4.7.1 <RCPT>: Recipient address rejected: Greylisted, see you in five minutes"},
	{20, "data", "421", "4.7.28", "421 4.7.28 An unusual rate of mail comes from your address; it is limited for a while"},
	{40, "connect", "", "", "Connection to HOST timed out"},
	{40, "dns", "", "", "No address found for the mail servers of the domain"},
	{10, "starttls", "", "", "The certificate of HOST is not valid"},
	{15, bounce, "", "4.4.1", "Delivery to HOST was tried for five days; it does not answer"},
	{25, bounce, "", "5.4.7", "Delivery time expired"},
	{20, "mailfrom", "552", "5.3.4", "552 5.3.4 Message size exceeds fixed limit"},
	{20, bounce, "550", "5.4.4", "550 5.4.4 Host or domain name not found"},
	{30, "rcptto", "550", "5.4.1", "550 5.4.1 <RCPT>: Recipient address rejected: Access denied"},
	{10, "message", "554", "5.6.0", "554 5.6.0 A part of the message is malformed"},
	{40, "rcptto", "550", "", "550 <RCPT>: Mailbox unavailable"},
	{10, "rcptto", "450", "", "450 <RCPT>: Mailbox busy, try again later"},
	{15, "message", "554", "", "554 Transaction failed"},
	{12, "rcptto", "550", "5.7.1", "550 5.7.1 <RCPT>: You are not allowed to send to this list, which is for members only"},
	{12, "rcptto", "450", "4.7.25", "450 4.7.25 Client host rejected: cannot find your reverse hostname"},
	{12, "suppression", "", "", "The address is on the suppression list of the account"},
	{10, "message", "554", "5.7.1", "554 5.7.1 The message contains a virus"},
	{10, "rcptto", "554", "5.7.1", "554 5.7.1 <RCPT>: Relay access denied"},
	{10, "mailfrom", "553", "5.1.8", "553 5.1.8 Domain of the sender address does not resolve"},
	{10, bounce, "554", "5.4.6", "554 5.4.6 Too many hops: the message goes round in circles"},
	{10, "mailfrom", "501", "5.5.4", "501 5.5.4 Invalid argument"},
	{15, "", "550", "5.1.1", "550 5.1.1 No such user here"},
	{10, bounce, "", "", "A message came back that says nothing of why"},
}

// refused is the reputation incident: one provider refuses one campaign.
var refused = []kind{
	{60, "message", "550", "5.7.1", "550-5.7.1 HOST: mail from your address is blocked because of its poor reputation.\n550 5.7.1 Ask the owner of the address to look into it."},
	{30, "message", "550", "5.7.26", "550 5.7.26 HOST: unauthenticated mail is not accepted because of the sender domain's policy"},
	{10, "mailfrom", "554", "5.7.1", "554 5.7.1 HOST: sender refused"},
}

// deferred is the outage: one provider is down for an hour.
var deferred = []kind{
	{45, "intro", "421", "4.3.2", "421 4.3.2 HOST Service not available, closing transmission channel"},
	{25, "rcptto", "451", "4.3.0", "451 4.3.0 <RCPT>: Temporary lookup failure"},
	{20, "data", "452", "4.3.1", "452 4.3.1 Insufficient system storage"},
	{10, "connect", "", "4.4.1", "Connection to HOST timed out"},
}

// unsigned is a kind not seen before: somebody changed the DKIM key. No other has its status.
var unsigned = []kind{
	{1, "message", "550", "5.7.20", "550 5.7.20 No passing DKIM signature found"},
}

// provider is where mailboxes are. RFC 2606 keeps .example free of real ones.
type provider struct {
	weight int
	domain string
}

// The two that have an incident.
const (
	refusing = "mail.example"
	failing  = "post.example"
)

var providers = []provider{
	{300, refusing},
	{180, failing},
	{170, "freemail.example"},
	{90, "inbox.example"},
	{40, "bücher.example"},
	{30, "corp-1.example"},
	{30, "corp-2.example"},
	{25, "corp-3.example"},
	{25, "corp-4.example"},
	{20, "corp-5.example"},
	{20, "corp-6.example"},
	{15, "corp-7.example"},
	{15, "corp-8.example"},
	{10, "corp-9.example"},
}

// flow is a stream of mail with its tags.
type flow struct {
	weight int
	tags   []string
}

// blocked is the tag that fails far more than the others while the provider refuses.
const blocked = "campaign-autumn"

var flows = []flow{
	{380, []string{"newsletter", "week-47"}},
	{90, []string{blocked, "week-47"}},
	{260, []string{"receipts"}},
	{110, []string{"password-reset"}},
	{70, []string{"welcome"}},
	{30, []string{"relance-été"}},
	{60, nil},
}

var (
	blockedFlows  = []flow{{85, []string{blocked, "week-47"}}, {15, []string{"newsletter", "week-47"}}}
	unsignedFlows = []flow{{1, []string{"password-reset"}}}
)

// deliveredFlows are what is delivered: a newsletter that is large and healthy, and hardly anything
// of the campaign that is refused.
var deliveredFlows = []flow{
	{620, []string{"newsletter", "week-47"}},
	{10, []string{blocked, "week-47"}},
	{220, []string{"receipts"}},
	{60, []string{"password-reset"}},
	{40, []string{"welcome"}},
	{20, []string{"relance-été"}},
	{30, nil},
}

var (
	firstNames = []string{"anna", "bram", "chloé", "daan", "emma", "finn", "hugo", "iris", "jan", "lotte", "mila", "noor", "olaf", "sem", "tess", "zoë"}
	lastNames  = []string{"bakker", "dejong", "devries", "dijk", "jansen", "meyer", "mulder", "peeters", "smit", "visser", "wouters", "zijlstra"}
)
