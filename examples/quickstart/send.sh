#!/bin/sh
# Sends one failure report to the quickstart's collector, in the form that Copernica and SMTPeter
# use. Every call has an id of its own, as real reports do: a report with the id of an earlier one
# is a repeat.
curl -i localhost:8550/failures -d "id=demo-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')" -d type=failure -d "time=$(date +%s)" -d recipient=jane@example.com -d action=failed -d state=rcptto -d code=550 -d extended=5.1.1 -d 'description=550 5.1.1 User unknown' -d 'tags[]=newsletter' -d 'tags[]=week-47'
