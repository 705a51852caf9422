//go:build race

package smtpfailurereceiver

// raceDetector reports whether the race detector is on.
const raceDetector = true
