#!/bin/sh
# Makes certificates to try the examples with, in the folder that it is given: ca.pem, server.pem
# and client.pem with their keys, for localhost and a week. For a real host, use those of your
# certificate authority.
set -eu
cd "${1:?the folder to write to}"

openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj '/CN=example CA' -keyout ca.key -out ca.pem 2>/dev/null
sign() {
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
	printf '%s\n' "$3" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 7 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
	rm "$1.csr" "$1.ext"
}
sign server localhost 'subjectAltName=DNS:localhost,IP:127.0.0.1'
sign client sender 'extendedKeyUsage=clientAuth'
