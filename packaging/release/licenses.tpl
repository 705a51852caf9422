{{ range . }}| {{ .Name }} | {{ .LicenseName }} |
{{ end }}
