package webhook

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestCharset(t *testing.T) {
	wide := func(order func(uint16) []byte, s string) string {
		var b []byte
		for _, unit := range utf16.Encode([]rune(s)) {
			b = append(b, order(unit)...)
		}
		return string(b)
	}
	little := func(u uint16) []byte { return []byte{byte(u), byte(u >> 8)} }
	big := func(u uint16) []byte { return []byte{byte(u >> 8), byte(u)} }

	for _, tc := range []struct{ charset, body, want string }{
		{"", "description=%92+%80+%E9", "’ € é"},
		{"", "description=\x92\x93\x81", "’“\ufffd"},
		{"", "description=%C3%A9%92", "é’"},
		{"utf-8", "description=%C3%A9%92", "é\ufffd"},
		{"UTF8", "description=%E2%82%AC", "€"},
		{"ISO-8859-1", "description=%C3%A9", "Ã©"},
		{"latin1", "description=%80", "€"},
		{"iso-8859-15", "description=%A4", "€"},
		{"windows-1251", "description=%CF%EE%F7%F2%E0", "Почта"},
		{"koi8-r", "description=\xf0\xcf\xde\xd4\xc1", "Почта"},
		{"shift_jis", "description=%93%FA%96%7B", "日本"},
		{"gb18030", "description=%D6%D0%CE%C4", "中文"},
		{"utf-16le", wide(little, "id=1&description=é"), "é"},
		{"utf-16be", wide(big, "id=1&description=%C3%A9"), "é"},
		{"", "\xff\xfe" + wide(little, "id=1&description=é€"), "é€"},
		{"utf-8", "\xfe\xff" + wide(big, "id=1&description=é€"), "é€"},
		{"", "\xef\xbb\xbfid=2&description=x", "x"},
		{"windows-1252", "\xef\xbb\xbfid=2&description=%EB", "ë"},
		{"", "%EF%BB%BFid=2&description=x", "x"},
		{"", "description=a%C2%85b%9Dc%00", "a b\ufffdc"},
	} {
		var d Decoder
		body := tc.body
		if strings.HasPrefix(body, "description") {
			body = "id=1&" + body
		}
		e, err := d.Form(Call{Arrived: arrived, Charset: tc.charset, Body: body})
		if err != nil || e.Description != tc.want {
			t.Errorf("%s of %q: %+v, %v; want %q", tc.charset, tc.body, e, err, tc.want)
		}
	}
	for _, charset := range []string{"klingon", "utf-7", "iso-2022-kr", "replacement", "-"} {
		var d Decoder
		_, formErr := d.Form(Call{Arrived: arrived, Charset: charset, Body: "id=1"})
		_, jsonErr := d.JSON(Call{Arrived: arrived, Charset: charset, Body: `{"id":1}`})
		if !errors.Is(formErr, ErrCharset) || !errors.Is(jsonErr, ErrCharset) {
			t.Errorf("%s: %v, %v", charset, formErr, jsonErr)
		}
	}
	for charset, body := range map[string]string{
		"": "{\"id\":1,\"description\":\"\x92\"}", "koi8-r": "{\"id\":1,\"description\":\"\xf0\"}",
		"utf-16le": wide(little, `{"id":1,"description":"é"}`), "utf-16be": "\xfe\xff" + wide(big, `{"id":1,"description":"é"}`),
		"utf-8": "\xef\xbb\xbf{\"id\":1,\"description\":\"é\"}",
	} {
		var d Decoder
		e, err := d.JSON(Call{Arrived: arrived, Charset: charset, Body: body})
		if want := map[string]string{"": "’", "koi8-r": "П"}[charset]; err != nil || e.Description != want && (want != "" || e.Description != "é") {
			t.Errorf("JSON in %q: %+v, %v", charset, e, err)
		}
	}
}
