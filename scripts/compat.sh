#!/usr/bin/env bash
# Builds and tests the component with the oldest collector that it supports, which is the one in go.mod, and with the newest of which every
# module can be had; and sends a report to a collector made of each. NEWEST=v0.164.0 takes that one instead of looking for it.
set -euo pipefail
cd "$(dirname "$0")/.."

core=go.opentelemetry.io/collector
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
storage=$contrib/extension/storage/filestorage
here=$PWD
work=$here/build/compat

# What the collector that is sent a report is made of, beside the receiver.
service=("$core/otelcol" "$core/service" "$core/exporter/debugexporter")

directly() { # the collector's modules that go.mod asks for, of the versions that begin with $1
	awk -v begin="$1" '$1 ~ /(open-telemetry\/opentelemetry-collector-contrib|go\.opentelemetry\.io\/collector)\// && index($2, begin) == 1 && !/indirect/ { print $1 }' go.mod
}

stable_of() { # the version of the stable modules that goes with $1
	local mod
	mod=$(go mod download -json "$core/receiver/receiverhelper@$1" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
	awk -v pdata="$core/pdata" '$1 == pdata { print $2 }' "$mod"
}

modules_at() { # all modules that are needed, at $1
	local stable module
	stable=$(stable_of "$1")
	[[ -n $stable ]]
	for module in $(directly v1) "$core/confmap/provider/envprovider" "$core/confmap/provider/fileprovider"; do echo "$module@$stable"; done
	for module in $(directly v0) "${service[@]}" "$storage"; do
		# What nothing else in a collector asks for stays at the version of go.mod.
		[[ $module == "$core/config/confighttp/xconfighttp" ]] || echo "$module@$1"
	done
}

available() { # whether every one can be downloaded: a proxy may list what it does not have
	local modules
	modules=$(modules_at "$1") || return 1
	# shellcheck disable=SC2086
	go mod download $modules
}

newest() {
	local version
	for version in $(go list -m -versions "$core/receiver/receiverhelper" | tr ' ' '\n' | grep '^v' | sort -rV); do
		if available "$version" 2>>"$work/newest.log"; then
			echo "$version"
			return
		fi
	done
	return 1
}

check() { # builds and tests with the collector $1
	local version=$1 stable modules directory=$work/$1
	rm -rf "$directory"
	mkdir -p "$directory/src"
	cp -R go.mod go.sum metadata.yaml receiver internal testdata "$directory/src"
	cd "$directory/src"
	stable=$(stable_of "$version")
	modules=$(modules_at "$version")
	# shellcheck disable=SC2086
	go get $modules
	go mod tidy
	go vet ./...
	go test ./...

	cat >"$directory/builder-config.yaml" <<-EOF
		dist: {name: otelcol-compat, module: example.com/compat, output_path: $directory/build}
		receivers:
		  - gomod: github.com/smtpfailure/opentelemetry-collector-smtpfailure v0.1.0
		    import: github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver
		    path: $directory/src
		exporters: [{gomod: $core/exporter/debugexporter $version}]
		extensions: [{gomod: $storage $version}]
		providers: [{gomod: $core/confmap/provider/envprovider $stable}, {gomod: $core/confmap/provider/fileprovider $stable}]
	EOF
	# The tool's version may differ from that of the modules.
	"$here/.tools/builder" --config "$directory/builder-config.yaml" --skip-compilation --skip-strict-versioning
	cd "$directory/build"
	# ocb writes the version of the core that it was built with.
	go get "${service[@]/%/@$version}"
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

# The script calls itself for each version: in the condition of an `if`, no error would end a function.
if [[ ${1-} == check ]]; then
	check "$2"
	exit
fi

mkdir -p "$work"
: >"$work/newest.log"
oldest=$(awk -v module="$core/receiver/receiverhelper" '$1 == module { print $2 }' go.mod)
latest=${NEWEST:-$(newest)}

failed=0
rows=
for version in "$oldest" "$latest"; do
	echo "Collector $version; what it says goes to build/compat/$version.log"
	if scripts/compat.sh check "$version" >"$work/$version.log" 2>&1; then
		result=passed
	else
		result='FAILED'
		failed=1
		tail -n 40 "$work/$version.log"
	fi
	rows+=$(printf '| %s / %s | %s | %s |' "$version" "$(stable_of "$version")" "$(go env GOVERSION)" "$result")$'\n'
done
printf '\n| Collector | Go | build, tests, a report before and after a restart |\n|---|---|---|\n%s' "$rows"
exit "$failed"
