package privacy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// plainness says how likely a local part stands in a text for something else than the mailbox.
type plainness int

const (
	// rare is a name: it is taken for the mailbox wherever it stands alone.
	rare plainness = iota
	// role is what mailboxes are named after, and other things too: info, sales. It is taken for the mailbox between quotes or angle brackets,
	// and after a word such as user.
	role
	// common is a word that such texts are made of: unknown, not, mailbox. Only quotes and angle brackets make it the mailbox.
	common
)

func plainnessOf(local []byte) plainness {
	digits, letters := 0, 0
	for _, c := range local {
		switch {
		case isDigit(c):
			digits++
		case isAlnum(c) || c >= utf8.RuneSelf:
			letters++
		}
	}
	switch n := utf8.RuneCount(local); {
	case n < 2 || commonWords[string(local)]:
		return common
	case n < 3 || roleWords[string(local)]:
		return role
	case letters == 0 && digits < 7:
		// Codes, sizes, times.
		return role
	}
	return rare
}

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		set[word] = true
	}
	return set
}

//nolint:misspell // Not all of it is English.
var roleWords = wordSet(`
	info information mail email e-mail post contact kontakt contacto contatto sales verkoop vertrieb ventas vendite support soporte
	admin administrator administratie administration amministrazione office buero kantoor bureau oficina service services servicio servizio
	klantenservice kundenservice helpdesk webmaster postmaster hostmaster abuse noreply no-reply no_reply donotreply mailer-daemon mailer
	newsletter nieuwsbrief news nieuws marketing billing invoice invoices facturen factuur rechnung facturation boekhouding buchhaltung
	contabilidad receptie reception rezeption recepcion team hello hallo hola bonjour jobs career careers vacatures hr press pers presse media
	shop store webshop web website www test tests testing demo dev root daemon nobody guest client clients klant kunden customer customers
	order orders bestelling bestellingen booking bookings reservations reserveringen security privacy legal finance accounts it ict subscribe
	unsubscribe bounces return returns feedback survey events event agenda partner partners supplier suppliers school secretariaat sekretariat
	management director directie personal public private main general corporate group club member members student students staff
	backup archive monitor monitoring alert alerts notification notifications report reports cloud api bot script cron www-data apache nginx
	postfix exim qmail sendmail exchange gmail outlook yahoo hotmail google microsoft spamhaus barracuda proofpoint mimecast office365
	spamassassin rspamd dovecot cyrus lmtp smtp esmtp imap pop3 dsn mx dns
`)

//nolint:misspell // Not all of it is English.
var commonWords = wordSet(`
	the and for with from that this was were are not but has had have been being will would can cannot could may might must should shall does
	did its our you your his her their they them then than there here when where which who whom what why how all any some none one two each
	other another more most less few many much such same own only also too very just now never ever again already after before since until
	while during about above below over under into onto out off via per upon within without between against because due use used using try
	tried trying please see visit more further later soon back through

	user users username unknown mailbox mailboxes mailbox-full account address addresses recipient recipients sender senders server servers
	host hosts hostname domain domains message messages msg letter delivery deliver delivered delivering delivers undelivered undeliverable
	undelivery failed failure failures fail fails error errors permanent permanently temporary temporarily transient fatal reject rejected
	rejects rejecting refused refuse denied deny blocked block blocking blacklisted blacklist blocklist listed list lists lookup verify
	verification verified invalid valid bad good wrong correct incorrect found exist exists existing existent nonexistent inactive active
	disabled disable enabled enable suspended expired closed open moved removed deleted full quota exceeded exceeds limit limited limits
	size large big small long short space storage disk available unavailable unable able access accessible inaccessible relay relaying relayed
	policy policies spam virus content filter filtered filtering junk suspected suspicious reason reasons reasoncode code codes status state
	states action actions type time timeout timed times date day days hour hours minute minutes second seconds retry retries retrying attempt
	attempts queue queued queueing greylisted greylisting deferred defer delayed delay warning notice connect connected connection connections
	reset closing lost dropped broken protocol command commands syntax sequence parameter parameters option options line lines data end ending
	start started starting stop stopped dot auth authentication authenticated unauthenticated authorized unauthorized required require requires
	tls starttls ssl certificate encryption encrypted session transaction remote local internal external system systems network route routing
	reply response respond responded said says returned returns return bounce bounced bounces ok okay yes null nil true false empty missing
	name names number numbers value values key keys field fields tag tags record records entry entries table file files folder inbox
	directory path home root link url page web http https www com net org example ip ipv4 ipv6 port ptr helo ehlo rcpt rcptto mailfrom idle
	process suppression responsive personalize rewrite handshake intro bind authplain authlogin authusername authpassword authcram
	authresponse softbounce hardbounce soft hard final original diagnostic reporting arrival received resent forward forwarded forwarding
	alias aliases mta mua mda spf dkim dmarc arc rbl rfc822 smtp lmtp id uid description extended code class subject detail dear original
	new old first last next previous high low need needed needs help get got give given gives go goes come let set sent send sending sends
	contact problem problems issue issues information complete completed incomplete unexpected resources insufficient exceeded rate
	temporarily throttled throttling ratelimited traffic reputation score bulk rejected-by authentication

	het een van voor met niet geen bestaat onbekend onbekende ontvanger afzender gebruiker postvak postbus adres bericht fout vol geweigerd
	kan kon wordt werd worden naar door zijn heeft hebben uit over
	der die das ein eine und oder nicht kein keine unbekannt benutzer empfanger empfänger absender postfach adresse nachricht fehler voll
	abgelehnt existiert wurde wird werden kann konnte ist sind mit von zum zur bei aus auf
	les des une pas non est sont pour avec dans sur par que qui inconnu utilisateur destinataire adresse boite boîte pleine erreur rejeté message
	los las una uno por con para como usuario destinatario buzon buzón lleno desconocido direccion dirección mensaje rechazado existe
	gli uno del della non utente casella piena sconosciuto indirizzo messaggio rifiutato
	não nao usuário caixa cheia desconhecido endereço mensagem
`)

// dateWords are names of people and of months or days. In a date they are no mailbox.
var dateWords = wordSet(`
	jan feb mar apr may jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun january february march april june july august september
	october november december monday tuesday wednesday thursday friday saturday sunday januari februari maart mei juni juli augustus oktober
	januar märz mai dezember
`)

// cues go before the mailbox that a text speaks of.
//
//nolint:misspell // Not all of it is English.
var cues = wordSet(`
	user users username userid user-id uid user_id login mailbox mailboxes account alias recipient recipients rcpt address addressee
	inbox localpart local-part member
	gebruiker gebruikersnaam ontvanger postvak postbus mailadres adres geadresseerde
	benutzer benutzername empfänger empfaenger postfach konto adresse mailbox-name nutzer
	utilisateur destinataire boîte boite compte usuario destinatario buzón buzon cuenta utente casella usuário destinatário
	użytkownik uzytkownik adresat пользователь получатель ящик användare mottagare bruker mottaker bruger modtager käyttäjä
`)

// verdicts go after it.
var verdicts = wordSet(`
	unknown not is isn't isnt does doesn't doesnt has hasn't no invalid disabled unavailable inactive suspended over full rejected refused
	cannot can't was could couldn't exceeded in on at nonexistent non-existent undeliverable
	onbekend bestaat niet is heeft unbekannt existiert nicht ist hat inconnu n'existe est desconocido no sconosciuto non não desconhecido
	nieznany не неизвестен
`)

// bare looks for the local part where it stands without the domain.
func (rd *redactor) bare(v *reading, m *mailbox, place where) {
	rd.bareWord(v, m, m.local, place)
	if len(m.base) < len(m.local) {
		rd.bareWord(v, m, m.base, place)
	}
}

func (rd *redactor) bareWord(v *reading, m *mailbox, word []byte, place where) {
	t := v.text
	each(t, word, func(i int) {
		end := i + len(word)
		if !alone(t, i, end, place) {
			return
		}
		isMailbox := false
		switch {
		case end < len(t) && t[end] == '@', quotes(before(t, i), after(t, end)):
			isMailbox = true
		case m.plain == rare:
			isMailbox = !m.date || !inDate(t, i, end)
		case m.plain == role:
			isMailbox = cued(t, i, end)
		}
		if isMailbox {
			rd.take(v, i, end, kindLocal)
		}
	})
}

// alone says that t[from:to] is a word by itself: no part of a longer one, of a host name, a number with dots or a word with hyphens.
func alone(t []byte, from, to int, place where) bool {
	if !bounded(t, from, to) {
		return false
	}
	if place == inName {
		return true
	}
	if hyphened(t, from, to) || from > 1 && t[from-1] == '.' && joins(t[from], before(t, from-1)) {
		return false
	}
	goesOn := to+1 < len(t) && t[to] == '.' && joins(t[to-1], after(t, to+1))
	return !goesOn
}

// quotes says that two characters are a pair of quotes or of angle brackets.
func quotes(left, right rune) bool {
	switch left {
	case '<':
		return right == '>'
	case '"', '\'', '“', '”', '„', '‘', '’', '‚', '`', '«', '»', '‹', '›':
		switch right {
		case '"', '\'', '“', '”', '‘', '’', '`', '«', '»', '‹', '›':
			return true
		}
	case '\\':
		return false
	}
	return false
}

const spaces = " \t\r\n"

// inDate says that a number stands beside the word as it does in a date.
func inDate(t []byte, from, to int) bool {
	i := to
	for i < len(t) && (t[i] == ',' || strings.IndexByte(spaces, t[i]) >= 0) && i < to+3 {
		i++
	}
	number := i
	for number < len(t) && isDigit(t[number]) && number < i+5 {
		number++
	}
	if n := number - i; i > to && (n == 1 || n == 2 || n == 4) && (number == len(t) || !isAlnum(t[number]) && t[number] != '.') {
		return true
	}
	// "Sun Jan 12" and "12 Jan, 10:00": what is beside is of a date too.
	before := lastWord(t, from)
	return dateWords[string(before)]
}

// lastWord is the word before t[end], when only spaces and commas are between.
func lastWord(t []byte, end int) []byte {
	end = skipBack(t, end, spaces+",")
	start := end
	for start > 0 && end-start < maxWord && !isBreak(t[start-1]) {
		start--
	}
	return t[start:end]
}

// maxWord is longer than every word in the lists.
const maxWord = 32

func isBreak(c byte) bool {
	return c < utf8.RuneSelf && !isAlnum(c) && c != '-' && c != '_' && c != '\''
}

// cued says that the words around t[from:to] speak of a mailbox: "unknown user: info", "mailbox sales is full".
func cued(t []byte, from, to int) bool {
	at := skipBack(t, from, spaces)
	separated := at > 0 && strings.IndexByte(":=-(+", t[at-1]) >= 0
	if separated {
		at = skipBack(t, at-1, spaces+":=-(+")
	}
	words := 1
	if separated {
		words = 3
	}
	hasCue := false
	for range words {
		word := lastWord(t, at)
		if cues[string(word)] {
			hasCue = true
			break
		}
		if len(word) == 0 || len(word) == maxWord {
			break
		}
		at = skipBack(t, at, spaces+",") - len(word)
	}
	if !hasCue || separated {
		return hasCue
	}
	next := skip(t, to, spaces+"+")
	if next == len(t) || strings.IndexByte(".,;:)(]\"'!?-", t[next]) >= 0 || bytes.IndexByte(t[to:next], '\n') >= 0 {
		return true
	}
	end := next
	for end < len(t) && end-next < maxWord && !isBreak(t[end]) {
		end++
	}
	return verdicts[string(t[next:end])]
}
