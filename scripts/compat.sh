#!/usr/bin/env bash
# Builds and tests the component with the oldest collector that it supports, which is the one in
# go.mod, and with the newest of which every module can be had; and sends a report to a collector
# made of each. It names newer ones that could not be taken, and fails where nothing known explains
# that. LISTED=v0.999.0,… tries these too, as if the proxy listed them.
set -euo pipefail
cd "$(dirname "$0")/.."

core=go.opentelemetry.io/collector
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
here=$PWD
work=$here/build/compat

sources() { # a copy of the receiver's module in $1
	rm -rf "$1"
	mkdir -p "$1"
	cp -R go.mod go.sum metadata.yaml receiver internal testdata "$1"
	rm -rf "$1/internal/tools"
}

check() { # builds and tests with the collector $1, which is made of the modules $2…
	local version=$1 directory=$work/$1
	shift
	sources "$directory/src"
	cd "$directory/src"
	go get "$@"
	go mod tidy
	go vet ./...
	go test ./...

	at() { # the version that was found for the module $1
		local module
		for module in "${modules[@]}"; do [[ $module != "$1@"* ]] || echo "${module#*@}"; done
	}
	modules=("$@")
	cat >"$directory/builder-config.yaml" <<-EOF
		dist: {name: otelcol-compat, module: example.com/compat, output_path: $directory/build}
		receivers:
		  - gomod: github.com/smtpfailure/opentelemetry-collector-smtpfailure v0.1.0
		    import: github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver
		    path: $directory/src
		exporters: [{gomod: $core/exporter/debugexporter $(at $core/exporter/debugexporter)}]
		extensions: [{gomod: $contrib/extension/storage/filestorage $(at $contrib/extension/storage/filestorage)}]
		providers:
		  - gomod: $core/confmap/provider/envprovider $(at $core/confmap/provider/envprovider)
		  - gomod: $core/confmap/provider/fileprovider $(at $core/confmap/provider/fileprovider)
	EOF
	# The tool's version may differ from that of the modules.
	"$here/.tools/builder" --config "$directory/builder-config.yaml" --skip-compilation --skip-strict-versioning
	cd "$directory/build"
	# ocb writes the version of the core that it was built with.
	go get "$core/otelcol@$(at $core/otelcol)" "$core/service@$(at $core/service)"
	go mod tidy
	CGO_ENABLED=0 go build -trimpath -o otelcol-compat .
	cd "$here"
	smoke "$directory"
}

smoke() { # sends the collector in $1 a report, the same one again after a restart, and looks at what it says of both
	local directory=$1 pid
	cat >"$directory/config.yaml" <<-EOF
		receivers:
		  smtp_failure:
		    http: {endpoint: "127.0.0.1:18550"}
		    storage: file_storage
		extensions:
		  file_storage: {directory: $directory/store, create_directory: true}
		exporters:
		  debug: {verbosity: detailed, use_internal_logger: false}
		service:
		  extensions: [file_storage]
		  telemetry: {metrics: {level: none}}
		  pipelines:
		    logs: {receivers: [smtp_failure], exporters: [debug]}
		    metrics: {receivers: [smtp_failure], exporters: [debug]}
	EOF
	for run in 1 2; do
		"$directory/build/otelcol-compat" --config "$directory/config.yaml" >"$directory/run$run.log" 2>&1 &
		pid=$!
		curl --silent --show-error --fail --retry 20 --retry-delay 1 --retry-connrefused --max-time 10 -o /dev/null \
			-d 'id=compat' -d 'code=550' -d 'extended=5.1.1' -d 'description=unknown user' http://127.0.0.1:18550/failures ||
			{ kill "$pid" || true; cat "$directory/run$run.log"; exit 1; }
		kill "$pid"
		wait "$pid"
	done
	grep -q 'EventName: email.delivery.failed' "$directory/run1.log"
	# The repeat is known, and the total goes on.
	if grep 'EventName: email.delivery.failed' "$directory/run2.log"; then exit 1; fi
	grep -q 'Value: 1$' "$directory/run2.log"
}

# The script calls itself for each version: in the condition of an `if`, no error would end a
# function.
if [[ ${1-} == check ]]; then
	shift
	check "$@"
	exit
fi

sources "$work/find"
failed=0
# What it could not take, it says itself.
.tools/compat -listed "${LISTED-}" "$work/find" >"$work/collectors" || failed=1

rows=
while read -r version modules; do
	echo "Collector $version; what it says goes to build/compat/$version.log"
	# shellcheck disable=SC2086
	if scripts/compat.sh check "$version" $modules >"$work/$version.log" 2>&1 </dev/null; then
		result=passed
	else
		result='FAILED'
		failed=1
		tail -n 40 "$work/$version.log"
	fi
	rows+=$(printf '| %s | %s | %s |' "$version" "$(go env GOVERSION)" "$result")$'\n'
done <"$work/collectors"
printf '\n| Collector | Go | build, tests, a report before and after a restart |\n|---|---|---|\n%s' "$rows"
exit "$failed"
