package signaturetest

import (
	"encoding/json"
	"net/http"
	"os"
	"time"
)

// Vectors are requests that the sender's own reference signer signed.
type Vectors struct {
	KeyName   string
	KeyRecord string
	Date      time.Time // when they were signed
	Requests  map[string]*Request
}

// ReadVectors reads testdata/vectors/signature.json, of which file is the path.
func ReadVectors(file string) Vectors {
	text, err := os.ReadFile(file) //nolint:gosec // The test names it.
	if err != nil {
		panic(err)
	}
	var content struct {
		KeyID   string `json:"key_id"`
		DNSTXT  string `json:"dns_txt"`
		Date    string `json:"date"`
		Vectors []struct {
			Name          string            `json:"name"`
			Method        string            `json:"method"`
			RequestTarget string            `json:"request_target"`
			Headers       map[string]string `json:"headers"`
			Body          string            `json:"body"`
		} `json:"vectors"`
	}
	if err := json.Unmarshal(text, &content); err != nil {
		panic(err)
	}
	date, err := http.ParseTime(content.Date)
	if err != nil {
		panic(err)
	}
	v := Vectors{KeyName: content.KeyID, KeyRecord: content.DNSTXT, Date: date, Requests: make(map[string]*Request)}
	for _, one := range content.Vectors {
		r := &Request{
			Header: make(http.Header), Method: one.Method, Target: one.RequestTarget, Proto: "HTTP/1.1",
			Host: one.Headers["host"], Body: one.Body,
		}
		for name, value := range one.Headers {
			r.Set(name, value)
		}
		r.Del("Host")
		v.Requests[one.Name] = r
	}
	return v
}
