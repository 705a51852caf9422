package signature

import "errors"

// ErrKeyUnavailable is wrapped by the error for a call whose key cannot be looked up now. The same
// call may be accepted later.
var ErrKeyUnavailable = errors.New("the sender's key cannot be looked up now")

// Refusal is the error for a call that does not come from one of the accounts.
type Refusal struct { //nolint:errname // It is named for what it is to the caller, beside ErrKeyUnavailable.
	Reason string // one of the constants below
}

// Error returns the reason. It holds nothing of the request.
func (r *Refusal) Error() string {
	return "the call is refused: " + r.Reason
}

func refuse(reason string) error {
	return &Refusal{Reason: reason}
}

// The reasons of a Refusal, about in the order of the checks.
const (
	// The Signature header.
	ReasonMissingSignature     = "missing_signature"
	ReasonRepeatedSignature    = "repeated_signature"
	ReasonMalformedSignature   = "malformed_signature"
	ReasonMissingParameter     = "missing_parameter"
	ReasonRepeatedParameter    = "repeated_parameter"
	ReasonForbiddenParameter   = "forbidden_parameter" // created, expires
	ReasonUnsupportedAlgorithm = "unsupported_algorithm"
	ReasonUnknownSelector      = "unknown_selector" // keyId is not <selector>._domainkey.copernica.com
	ReasonUncoveredHeader      = "uncovered_header"

	// What it covers.
	ReasonMissingHeader     = "missing_header"
	ReasonRepeatedHeader    = "repeated_header"
	ReasonEmptyHeader       = "empty_header"
	ReasonMalformedHeader   = "malformed_header"
	ReasonMalformedTarget   = "malformed_target"
	ReasonUnknownHost       = "unknown_host"
	ReasonMalformedDate     = "malformed_date"
	ReasonOld               = "old"
	ReasonFuture            = "future"
	ReasonMalformedDigest   = "malformed_digest"
	ReasonRepeatedDigest    = "repeated_digest"
	ReasonUnsupportedDigest = "unsupported_digest" // neither SHA-256 nor SHA-512

	// The key, the signature, the body.
	ReasonNoKey             = "no_key" // the name does not exist
	ReasonRevokedKey        = "revoked_key"
	ReasonUnusableKey       = "unusable_key" // none of the name's records is an RSA key of 1024 to 4096 bits
	ReasonSignatureMismatch = "signature_mismatch"
	ReasonUnknownAccount    = "unknown_account"
	ReasonDigestMismatch    = "digest_mismatch"

	// ReasonNotChecked is for a call that was changed on its way and not given to Begin.
	ReasonNotChecked = "not_checked"
)

// Reasons are all reasons of a Refusal.
var Reasons = [...]string{
	ReasonMissingSignature, ReasonRepeatedSignature, ReasonMalformedSignature, ReasonMissingParameter,
	ReasonRepeatedParameter, ReasonForbiddenParameter, ReasonUnsupportedAlgorithm, ReasonUnknownSelector,
	ReasonUncoveredHeader, ReasonMissingHeader, ReasonRepeatedHeader, ReasonEmptyHeader, ReasonMalformedHeader,
	ReasonMalformedTarget, ReasonUnknownHost, ReasonMalformedDate, ReasonOld, ReasonFuture, ReasonMalformedDigest,
	ReasonRepeatedDigest, ReasonUnsupportedDigest, ReasonNoKey, ReasonRevokedKey, ReasonUnusableKey,
	ReasonSignatureMismatch, ReasonUnknownAccount, ReasonDigestMismatch, ReasonNotChecked,
}
