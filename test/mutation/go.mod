module github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/mutation

go 1.26.0

toolchain go1.26.8
