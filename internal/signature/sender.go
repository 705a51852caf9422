package signature

import "strings"

// What is the sender's own: the header that names the account, where its keys are, and what it
// promises to sign.

// accountHeader is the header that names the account a call is for, in lower case as it is signed.
const accountHeader = "x-copernica-id"

// keyDomain is where the sender's keys are.
const keyDomain = "._domainkey.copernica.com"

// required is what the sender's documentation promises that a signature covers.
var required = [...]string{requestTarget, "host", "date", "digest", accountHeader}

// isKeyName reports whether a keyId, in lower case, is <selector>._domainkey.copernica.com with a
// selector of letters, digits and hyphens that is one label (RFC 1123, section 2.1; RFC 1035,
// section 2.3.4).
func isKeyName(keyID string) bool {
	selector, ok := strings.CutSuffix(keyID, keyDomain)
	if !ok || selector == "" || len(selector) > 63 || selector[0] == '-' || selector[len(selector)-1] == '-' {
		return false
	}
	return strings.Trim(selector, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
