package privacy

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// What stands in a text in place of what was taken out.
const (
	markRecipient = "[recipient]"
	markAddress   = "[address]"
	markDomain    = "[domain]"
)

// Bounds. What is longer is no mailbox that anybody has: RFC 5321 allows 64 bytes before the @ and 255 behind it.
const (
	maxMailboxes = 8
	maxLocal     = 512
	maxHost      = 1024
	maxQuoted    = 512
	// maxAround is the number of spaces, quotes and brackets that are skipped around an @.
	maxAround = 16
)

// kind says what a stretch of text is. Where stretches overlap, the greater one names what they are together.
type kind int

const (
	kindDomain kind = iota
	kindLocal
	kindAddress
	kindRecipient
)

func (k kind) marker() string {
	switch k {
	case kindDomain:
		return markDomain
	case kindAddress:
		return markAddress
	default:
		return markRecipient
	}
}

// mailbox is an address that the recipient is known by, read and in its parts.
type mailbox struct {
	// local is without quotes, base without a plus-tag.
	local, base []byte
	// domain is empty when there was no @.
	domain []byte
	plain  plainness
	// date says that base is a word that dates are written with.
	date bool
	// exact says that the domain is followed by nothing that could make it something else.
	exact bool
}

// found is a stretch of the source to take out.
type found struct {
	stretch
	kind kind
}

// redactor takes addresses out of the texts of one report.
type redactor struct {
	readers
	// whole is the recipient as it reads, when it holds more than an address that is recognised anyway.
	whole     []byte
	mailboxes []mailbox
	// domains are what is taken out beside addresses: the recipient's domains, and the names of hosts that are made of them.
	domains [][]byte
	hosts   [][]byte
	found   []found
}

// learn finds out how the recipient may be called.
func (rd *redactor) learn(recipient string, hideDomain bool) {
	if recipient = strings.TrimSpace(recipient); recipient == "" {
		return
	}
	isAddress := false
	rd.readings(recipient, func(v *reading, strict bool) {
		if rd.whole == nil {
			rd.whole = bytes.Clone(v.text)
		}
		if strict && isAddress {
			// The +bf in jan+bfq@example.org is no escape.
			return
		}
		isAddress = isAddress || bytes.IndexByte(v.text, '@') >= 0
		rd.addresses(v, func(start, at, after, end int) {
			local, domain := v.text[start:at], v.text[after:end]
			exact := end == len(v.text) || v.text[end] == '>' || !isLocalByte(v.text[end]) && v.text[end] != '@' && isDomain(domain)
			rd.know(local, domain, exact)
		})
		// The address that is there when it is taken by its word.
		local, domain := v.text, []byte(nil)
		if at := bytes.LastIndexByte(v.text, '@'); at >= 0 {
			local, domain = v.text[:at], v.text[at+1:]
			if host(v.text, at+1) != len(v.text) {
				domain = nil
			}
		}
		rd.know(local, domain, true)
	})
	if !hideDomain {
		return
	}
	for i := range rd.mailboxes {
		domain := rd.mailboxes[i].domain
		if len(domain) == 0 || slices.ContainsFunc(rd.domains, func(d []byte) bool { return bytes.Equal(d, domain) }) {
			continue
		}
		rd.domains = append(rd.domains, domain)
		// A mail host at Microsoft has the name of the domain in its own, with hyphens for dots.
		if bytes.IndexByte(domain, '.') < 0 {
			continue
		}
		rd.host(domain)
		if isASCII(string(domain)) {
			continue
		}
		if ascii, err := idna.Punycode.ToASCII(string(domain)); err == nil {
			rd.host([]byte(ascii))
		}
	}
	// The reading has lost what some names are written with: ß is ss in it.
	if at := strings.LastIndexByte(recipient, '@'); at >= 0 && !isASCII(recipient[at:]) {
		if ascii, err := idna.Punycode.ToASCII(norm.NFC.String(strings.ToLower(recipient[at+1:]))); err == nil && strings.IndexByte(ascii, '.') >= 0 {
			rd.host([]byte(ascii))
		}
	}
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
}

func (rd *redactor) host(domain []byte) {
	name := string(bytes.ReplaceAll(domain, []byte("."), []byte("-")))
	if len(name) > maxHost {
		return
	}
	plain, _, _, _ := spelling(name)
	name = string(rd.read(name, plain, noEscapes).text)
	if !slices.ContainsFunc(rd.hosts, func(h []byte) bool { return string(h) == name }) {
		rd.hosts = append(rd.hosts, []byte(name))
	}
}

// know adds a mailbox, and those that it is a rewritten form of.
func (rd *redactor) know(local, domain []byte, exact bool) {
	local, domain = unquote(local), bytes.Trim(domain, " \t\r\n.")
	rd.add(local, domain, exact)
	if bytes.IndexByte(local, '=') < 0 {
		return
	}
	parts := bytes.Split(local, []byte("="))
	n := len(parts)
	if n < 2 || n > 16 {
		return
	}
	last, before := parts[n-1], parts[n-2]
	switch tag := string(parts[0]); {
	case n > 2 && strings.HasPrefix(tag, "srs"):
		// SRS0=hash=time=example.org=jan@forwarder.example
		rd.add(last, before, false)
	case n > 2 || strings.HasPrefix(tag, "prvs") || strings.HasPrefix(tag, "msprvs") || strings.HasPrefix(tag, "btv"):
		// prvs=tag=jan@example.org
		rd.add(last, domain, false)
	case bytes.IndexByte(last, '.') >= 0:
		// bounces-123-jan=example.org@list.example
		rd.add(before, last, false)
		if i := bytes.LastIndexAny(before, "+-"); i >= 0 {
			rd.add(before[i+1:], last, false)
		}
	}
}

func (rd *redactor) add(local, domain []byte, exact bool) {
	if len(local) == 0 || len(local) > maxLocal || len(domain) > maxHost || len(rd.mailboxes) == maxMailboxes ||
		slices.ContainsFunc(rd.mailboxes, func(m mailbox) bool { return bytes.Equal(m.local, local) && bytes.Equal(m.domain, domain) }) {
		return
	}
	m := mailbox{local: bytes.Clone(local), domain: bytes.Clone(domain), exact: exact}
	m.base = m.local
	if plus := bytes.IndexByte(m.local, '+'); plus > 0 {
		m.base = m.local[:plus]
	}
	m.plain, m.date = plainnessOf(m.base), dateWords[string(m.base)]
	rd.mailboxes = append(rd.mailboxes, m)
}

// unquote takes the quotes off a quoted local part.
func unquote(local []byte) []byte {
	local = bytes.Trim(local, " \t\r\n<")
	trimmed := bytes.Trim(local, `"\`)
	if len(trimmed) == len(local) || len(trimmed) == 0 {
		return local
	}
	unquoted := make([]byte, 0, len(trimmed))
	for i, c := range trimmed {
		if c != '\\' || i > 0 && trimmed[i-1] == '\\' {
			unquoted = append(unquoted, c)
		}
	}
	return unquoted
}

// readings reads a text in every way that may tell something. strict says that an @ may be there by chance.
func (rd *redactor) readings(s string, use func(v *reading, strict bool)) {
	plain, common, quoted, xtext := spelling(s)
	use(rd.read(s, plain, noEscapes), false)
	if common {
		v := rd.read(s, plain, commonEscapes)
		use(v, false)
		quoted, xtext = quoted || rd.unescaped.quoted, xtext || rd.unescaped.xtext
	}
	if quoted {
		use(rd.read(s, plain, quotedEscapes), true)
	}
	if xtext {
		use(rd.read(s, plain, xtextEscapes), true)
	}
}

// where says what is particular about the place of a text.
type where int

const (
	// inText is anywhere else.
	inText where = iota
	// inName is the name of a variable, whose parts have dots between them.
	inName
)

// redact returns the text without addresses. It is the same string when there is none.
func (rd *redactor) redact(s string, place where) string {
	if s == "" {
		return s
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	rd.found = rd.found[:0]
	rd.readings(s, func(v *reading, strict bool) {
		rd.addresses(v, func(start, at, after, end int) {
			if strict && v.isEscape(at) && !isDomain(v.text[after:end]) {
				return
			}
			rd.take(v, start, end, kindAddress)
		})
		rd.recipient(v, place)
	})
	if len(rd.found) == 0 {
		return s
	}
	slices.SortFunc(rd.found, func(a, b found) int { return cmp.Compare(a.from, b.from) })

	var out strings.Builder
	out.Grow(len(s) + len(markRecipient))
	done := 0
	for i := 0; i < len(rd.found); {
		f := rd.found[i]
		for i++; i < len(rd.found) && rd.found[i].from < f.to; i++ {
			f.to = max(f.to, rd.found[i].to)
			f.kind = max(f.kind, rd.found[i].kind)
		}
		// No character is cut in two.
		for f.from > done && !utf8.RuneStart(s[f.from]) {
			f.from--
		}
		for f.to < len(s) && !utf8.RuneStart(s[f.to]) {
			f.to++
		}
		out.WriteString(s[done:f.from])
		out.WriteString(f.kind.marker())
		done = f.to
	}
	out.WriteString(s[done:])
	return out.String()
}

// isEscape says that the byte of the text is written as more than one in the source.
func (v *reading) isEscape(at int) bool {
	mark := v.source(at, at+1)
	return mark.to-mark.from > 2
}

func (rd *redactor) take(v *reading, start, end int, k kind) {
	if start < end {
		rd.found = append(rd.found, found{v.source(start, end), k})
	}
}

// ats are the spellings of an @ in words, for people to read.
var ats = [...]string{"(at)", "[at]", "{at}", "<at>"}

// addresses calls use for everything that looks like an address: the local part is text[start:at], the domain text[after:end].
func (rd *redactor) addresses(v *reading, use func(start, at, after, end int)) {
	t := v.text
	for at := bytes.IndexByte(t, '@'); at >= 0; {
		address(t, at, at+1, use)
		next := bytes.IndexByte(t[at+1:], '@')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	for i := 0; ; i++ {
		next := bytes.Index(t[i:], []byte("at"))
		if next < 0 {
			return
		}
		i += next
		if i == 0 || i+3 > len(t) {
			continue
		}
		for _, spelled := range ats {
			if string(t[i-1:i+3]) == spelled {
				from, to := skipBack(t, i-1, " "), skip(t, i+3, " ")
				if end := host(t, to); isDomain(t[to:end]) {
					address(t, from, to, use)
				}
			}
		}
	}
}

// address looks for what stands around an @ at t[at:after].
func address(t []byte, at, after int, use func(start, at, after, end int)) {
	from, end := after, host(t, after)
	if from == end {
		// An address may be folded at its @, which leaves one side there.
		if from = skip(t, after, " \t\r\n"); from == after {
			return
		}
		if end = host(t, from); !isDomain(t[from:end]) {
			return
		}
	}
	start := local(t, at)
	if start == at {
		left := skipBack(t, at, " \t\r\n")
		if left == at || bytes.IndexByte(t[left:at], '\n') < 0 || !isDomain(t[from:end]) {
			return
		}
		at = left
		if start = local(t, at); start == at {
			return
		}
	}
	use(start, at, from, end)
}

func skip(t []byte, i int, set string) int {
	for most := i + maxAround; i < len(t) && i < most && strings.IndexByte(set, t[i]) >= 0; {
		i++
	}
	return i
}

func skipBack(t []byte, i int, set string) int {
	for least := i - maxAround; i > 0 && i > least && strings.IndexByte(set, t[i-1]) >= 0; {
		i--
	}
	return i
}

// host finds where the domain or the address literal ends that begins at t[i]; that is i when there is none.
func host(t []byte, i int) int {
	from, end := i, i
	if i < len(t) && t[i] == '[' {
		for j := i + 1; j < len(t) && j < i+64; j++ {
			if t[j] == ']' && j > i+1 {
				return j + 1
			}
			if !isHex(t[j]) && t[j] != '.' && t[j] != ':' && strings.IndexByte("ipv6:", t[j]) < 0 {
				return i
			}
		}
		return i
	}
	// label is where the last label begins, cut where text goes on behind it that has no spaces: no top-level domain is in two scripts.
	label, cut := i, 0
	next := func(length int) {
		i += length
		label = i
	}
	for i < len(t) {
		switch c := t[i]; {
		case isAlnum(c):
			if label == i {
				cut = 0
			}
			i++
			end = i
			continue
		case c == '-' || c == '_':
			i++
			continue
		case c == '.':
			next(1)
			continue
		case c == '\\' && i+1 < len(t) && t[i+1] == '.':
			next(2)
			continue
		case (c == '[' || c == '(') && i+2 < len(t) && t[i+1] == '.' && (t[i+2] == ']' || t[i+2] == ')'):
			next(3)
			continue
		}
		c, size := utf8.DecodeRune(t[i:])
		if c < utf8.RuneSelf || !unicode.In(c, unicode.L, unicode.M, unicode.N) {
			break
		}
		switch {
		case label == i:
			cut = 0
		case label > from && cut == 0 && t[label] < utf8.RuneSelf && unspaced(c):
			cut = i
		}
		i += size
		end = i
	}
	if cut > 0 {
		return cut
	}
	return end
}

// unspaced says that a character is of a script that writes no spaces between words.
func unspaced(c rune) bool {
	return unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai)
}

// isDomain takes what can hardly be anything but a domain: it has a dot, and its last label begins with a letter and has two.
func isDomain(domain []byte) bool {
	dot := bytes.LastIndexByte(domain, '.')
	if dot <= 0 || dot+2 >= len(domain) {
		return false
	}
	last := domain[dot+1:]
	return !bytes.ContainsAny(last, "0123456789") || bytes.HasPrefix(last, []byte("xn--"))
}

// localBytes are what a local part without quotes has in ASCII (atext of RFC 5322, the dot, and the backslash of old).
var localBytes = func() (set [utf8.RuneSelf]bool) {
	for c := range set {
		set[c] = isAlnum(byte(c)) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.\\", byte(c)) >= 0
	}
	return set
}()

func isLocalByte(c byte) bool { return c >= utf8.RuneSelf || localBytes[c] }

// local finds where the local part that ends before t[at] begins.
func local(t []byte, at int) int {
	start := at
	if start > 0 && t[start-1] == ')' {
		if open := bytes.LastIndexByte(t[max(0, start-maxQuoted):start], '('); open >= 0 {
			start = max(0, start-maxQuoted) + open
		}
	}
	isQuoted := false
	if start > 0 && t[start-1] == '"' {
		if open := opening(t, start-1); open >= 0 {
			start, isQuoted = open, true
		} else {
			start--
		}
	}
	end := start
	for start > 0 {
		c := t[start-1]
		if c < utf8.RuneSelf {
			if !localBytes[c] {
				break
			}
			start--
			continue
		}
		r, size := utf8.DecodeLastRune(t[:start])
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.IsPunct(r) {
			break
		}
		start -= size
	}
	if isQuoted && start == end {
		return start
	}
	return start + leading(t, start, end)
}

// opening finds the quote that opens what t[closing] closes, or says -1.
func opening(t []byte, closing int) int {
	escaped := closing > 0 && t[closing-1] == '\\'
	for i := closing - 1; i >= 0 && i > closing-maxQuoted; i-- {
		switch t[i] {
		case '"':
			if escaped || i == 0 || t[i-1] != '\\' {
				return i
			}
		case '\n':
			return -1
		}
	}
	return -1
}

// keys go before an address, with an equals sign between.
var keys = []string{"to", "from", "rcpt", "rcptto", "recipient", "orig_to", "original-recipient", "final-recipient", "email", "mail", "e-mail", "address", "user", "envelope-from", "smtp.mailfrom", "mailfrom", "header.from"}

// leading is the number of bytes of t[start:end], the characters that could be of a local part, that are of something else before it.
func leading(t []byte, start, end int) int {
	run := t[start:end]
	cut := 0
	if start > 0 && t[start-1] == ':' && len(run) > 0 && run[0] != '/' {
		// The password of user:password@host in a URL; the user goes too.
		user := start - 1
		for user > 0 && start-user < maxLocal && localBytes[t[user-1]&0x7f] && t[user-1] != '/' {
			user--
		}
		if user >= 2 && t[user-1] == '/' && t[user-2] == '/' {
			return user - start
		}
	}
	// The parameters of a URL.
	for i := len(run) - 1; i > 0; i-- {
		if run[i] != '=' {
			continue
		}
		name := i
		for name > 0 && (isAlnum(run[name-1]) || run[name-1] == '_') {
			name--
		}
		if name < i && name > 0 && (run[name-1] == '?' || run[name-1] == '&') && i+1 < len(run) {
			cut = i + 1
		}
		break
	}
	if cut == 0 {
		for _, key := range keys {
			if len(run) > len(key)+1 && run[len(key)] == '=' && string(run[:len(key)]) == key {
				cut = len(key) + 1
			}
		}
	}
	if cut == 0 && len(run) > 4 && replyCode(t, start) == start+4 {
		cut = 4
	}
	// Punctuation that a local part hardly begins with, when something follows.
	for i := cut; i < len(run); i++ {
		if isAlnum(run[i]) || run[i] >= utf8.RuneSelf {
			return i
		}
	}
	return cut
}

// recipient finds what the recipient is known by.
func (rd *redactor) recipient(v *reading, place where) {
	t := v.text
	if bytes.IndexByte(rd.whole, '@') >= 0 {
		each(t, rd.whole, func(i int) {
			k := kindRecipient
			if i > 0 && isLocalByte(t[i-1]) && t[i-1] != '=' && t[i-1] != '/' && replyCode(t, i-4) != i {
				// Of somebody else, whose name ends alike.
				k = kindAddress
			}
			rd.take(v, i, i+len(rd.whole), k)
		})
	}
	for i := range rd.mailboxes {
		m := &rd.mailboxes[i]
		if len(m.domain) > 0 {
			each(t, m.domain, func(i int) { rd.around(v, m, i) })
		}
		rd.bare(v, m, place)
	}
	for _, domain := range rd.domains {
		each(t, domain, func(i int) {
			end := i + len(domain)
			if !bounded(t, i, end) || hyphened(t, i, end) {
				return
			}
			if bytes.IndexByte(domain, '.') < 0 && (i > 0 && t[i-1] == '.' || end+1 < len(t) && t[end] == '.' && isAlnum(t[end+1])) {
				return
			}
			rd.take(v, i, end, kindDomain)
		})
	}
	for _, name := range rd.hosts {
		each(t, name, func(i int) {
			if bounded(t, i, i+len(name)) {
				rd.take(v, i, i+len(name), kindDomain)
			}
		})
	}
}

// each calls use with every place where word is in t. Those of a long word do not overlap.
func each(t, word []byte, use func(i int)) {
	for i := 0; ; {
		next := bytes.Index(t[i:], word)
		if next < 0 {
			return
		}
		i += next
		use(i)
		if len(word) > maxHost {
			i += len(word)
		} else {
			i++
		}
	}
}

// bounded says that t[from:to] is no part of a longer word.
func bounded(t []byte, from, to int) bool {
	return !joins(t[from], before(t, from)) && !joins(t[to-1], after(t, to))
}

func before(t []byte, i int) rune {
	if i == 0 {
		return ' '
	}
	r, _ := utf8.DecodeLastRune(t[:i])
	return r
}

func after(t []byte, i int) rune {
	if i >= len(t) {
		return ' '
	}
	r, _ := utf8.DecodeRune(t[i:])
	return r
}

// joins says that a word with c at its edge goes on with next.
func joins(c byte, next rune) bool {
	if next < utf8.RuneSelf {
		return isAlnum(byte(next&0x7f)) || next == '_'
	}
	return unicode.In(next, unicode.L, unicode.M, unicode.N) && (c >= utf8.RuneSelf || !unspaced(next))
}

// hyphened says that t[from:to] is hyphenated with a word before or behind it. The 550- of a reply is none.
func hyphened(t []byte, from, to int) bool {
	return from > 1 && t[from-1] == '-' && joins(t[from], before(t, from-1)) && replyCode(t, from-4) != from ||
		to+1 < len(t) && t[to] == '-' && joins(t[to-1], after(t, to+1))
}

// replyCode is where the text of a line of a reply begins, when "550-" is at t[i:], else -1.
func replyCode(t []byte, i int) int {
	if i < 0 || i+4 > len(t) || t[i+3] != '-' || i > 0 && strings.IndexByte(" \r\n:", t[i-1]) < 0 {
		return -1
	}
	for _, c := range t[i : i+3] {
		if !isDigit(c) {
			return -1
		}
	}
	return i + 4
}

// separators stand between the parts of an address, and in forms that it is rewritten to.
const separators = "@=%#!|:/"

// around looks for the local part beside the recipient's domain, which is at t[i:].
func (rd *redactor) around(v *reading, m *mailbox, i int) {
	const space = " \t\r\n\"'\\<>()[]{}"
	t := v.text
	end := i + len(m.domain)
	spelled := i > 4 && (string(t[i-4:i]) == "_at_" || string(t[i-4:i]) == "-at-")
	if !spelled && !bounded(t, i, end) {
		return
	}
	if i > 0 {
		at := skipBack(t, i, space)
		sep := i
		switch {
		case at > 0 && strings.IndexByte(separators, t[at-1]) >= 0:
			sep = at - 1
		case at > 3 && at < i && t[at-1] == 't' && t[at-2] == 'a' && strings.IndexByte(space+"_-", t[at-3]) >= 0:
			sep = at - 3
		case spelled:
			sep = i - 4
		}
		if sep < i {
			left := skipBack(t, sep, space)
			if start := rd.localBefore(t, m, left, t[sep]); start >= 0 {
				rd.take(v, start, end, kindRecipient)
			}
		}
	}
	if end+1 < len(t) && strings.IndexByte("=!/", t[end]) >= 0 {
		// The other way around: SRS, paths of UUCP and of mail folders.
		// In a path or a URL, info is a page.
		if t[end] == '/' && m.plain != rare {
			return
		}
		for _, word := range [...][]byte{m.local, m.base} {
			if to := end + 1 + len(word); bytes.HasPrefix(t[end+1:], word) && bounded(t, end+1, to) {
				rd.take(v, i, to, kindRecipient)
				break
			}
		}
	}
}

// localBefore finds where the recipient's local part begins that ends before t[end], or says -1.
func (rd *redactor) localBefore(t []byte, m *mailbox, end int, sep byte) int {
	fits := func(start, stop int) bool {
		if joins(t[start], before(t, start)) {
			return false
		}
		if start > 0 && sep == '@' && strings.IndexByte("+-.", t[start-1]) >= 0 && replyCode(t, start-4) != start {
			// Of somebody else, whose name ends alike.
			return false
		}
		return stop == end || t[stop] == '+'
	}
	if start := end - len(m.local); start >= 0 && bytes.HasSuffix(t[:end], m.local) && fits(start, end) {
		return start
	}
	// With a tag, or without the one that it has.
	run := end
	for run > 0 && end-run < maxLocal && isLocalByte(t[run-1]) {
		run--
	}
	for i := run; i+len(m.base) <= end; i++ {
		next := bytes.Index(t[i:end], m.base)
		if next < 0 {
			return -1
		}
		i += next
		if fits(i, i+len(m.base)) {
			return i
		}
	}
	return -1
}
