package smtpstatus

// The classes of a failure, the only values that Class returns.
const (
	// ClassPermanent is a failure that trying again unchanged will not mend: enhanced status 5.X.X, RFC 3463 section
	// 3.1, or reply 5yz, RFC 5321 section 4.2.1. It does not mean that the address is bad.
	ClassPermanent = "permanent"
	// ClassTransient is a failure that may pass: enhanced status 4.X.X or reply 4yz.
	ClassTransient = "transient"
	// ClassUnknown is a failure without a status that says one or the other, as when no server was reached.
	ClassUnknown = "unknown"
)

// Class returns the class of a failure: that of the enhanced status where it has one, else that of the reply code, else
// ClassUnknown. Class 2 of an enhanced status is success, which says nothing of a failure, so the reply code decides.
// A code that is not 400 to 599, 0 included, is taken as none.
func Class(e Enhanced, code int) string {
	switch e.Class {
	case 5:
		return ClassPermanent
	case 4:
		return ClassTransient
	}
	switch {
	case 500 <= code && code <= 599:
		return ClassPermanent
	case 400 <= code && code <= 499:
		return ClassTransient
	}
	return ClassUnknown
}
