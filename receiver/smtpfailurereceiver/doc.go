// Package smtpfailurereceiver is a receiver for the OpenTelemetry Collector. It takes the webhooks
// with which Copernica and SMTPeter report emails that could not be delivered, and turns each into
// one log record and into counters.
package smtpfailurereceiver
