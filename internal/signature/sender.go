package signature

import "strings"

// What is specific to the sender.
const (
	accountHeader = "x-copernica-id"            // names the account
	keyDomain     = "._domainkey.copernica.com" // has the keys
)

// required is what the sender's documentation promises to sign.
var required = [...]string{requestTarget, "host", "date", "digest", accountHeader}

// isKeyName reports whether a keyId in lower case is a selector in keyDomain. A selector is one
// label of letters, digits and hyphens (RFC 1123, section 2.1; RFC 1035, section 2.3.4).
func isKeyName(keyID string) bool {
	selector, ok := strings.CutSuffix(keyID, keyDomain)
	if !ok || selector == "" || len(selector) > 63 || selector[0] == '-' || selector[len(selector)-1] == '-' {
		return false
	}
	return strings.Trim(selector, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
