package smtpstatus

// The classes of a failure, the only values that Class returns.
const (
	// ClassPermanent is a failure that another try unchanged would not mend: enhanced status 5.X.X,
	// RFC 3463 section 3.1, or reply 5yz, RFC 5321 section 4.2.1. The address need not be bad.
	ClassPermanent = "permanent"
	// ClassTransient is a failure that may pass: enhanced status 4.X.X or reply 4yz.
	ClassTransient = "transient"
	// ClassUnknown is a failure without such a status, as when no server was reached.
	ClassUnknown = "unknown"
)

// Class returns the class of a failure: that of the enhanced status if it is 4 or 5, else that of
// the reply code if it is 400 to 599, else ClassUnknown.
func Class(e Enhanced, code int) string {
	class := int(e.Class)
	if class != 4 && class != 5 {
		class = code / 100
	}
	switch class {
	case 5:
		return ClassPermanent
	case 4:
		return ClassTransient
	}
	return ClassUnknown
}
