//go:build !race

package smtpfailurereceiver

// raceDetector says that the race detector is on.
const raceDetector = false
