module github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/mutation

go 1.25.0
