module github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/e2e

go 1.25.0
