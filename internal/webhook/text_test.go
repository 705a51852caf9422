package webhook

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wide encodes a text in UTF-16.
func wide(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestCharset(t *testing.T) {
	little, big := binary.LittleEndian, binary.BigEndian
	for _, tc := range []struct{ charset, body, want string }{
		{"", "id=1&description=%92+%80+%E9", "’ € é"},
		{"", "id=1&description=\x92\x93\x81", "’“\ufffd"},
		{"", "id=1&description=%C3%A9%92", "é’"},
		{"utf-8", "id=1&description=%C3%A9%92", "é\ufffd"},
		{"ISO-8859-1", "id=1&description=%C3%A9", "Ã©"},
		{"koi8-r", "id=1&description=\xf0\xcf\xde\xd4\xc1", "Почта"},
		{"shift_jis", "id=1&description=%93%FA%96%7B", "日本"},
		{"gb18030", "id=1&description=%D6%D0%CE%C4", "中文"},
		{"utf-16le", wide(little, "id=1&description=é"), "é"},
		{"utf-16be", wide(big, "id=1&description=%C3%A9"), "é"},
		{"", "\xff\xfe" + wide(little, "id=1&description=é€"), "é€"},
		{"utf-8", "\xfe\xff" + wide(big, "id=1&description=é€"), "é€"},
		{"", "\xef\xbb\xbfid=2&description=x", "x"},
		{"windows-1252", "\xef\xbb\xbfid=2&description=%EB", "ë"},
		{"", "%EF%BB%BFid=2&description=x", "x"},
		{"", "id=1&description=a%C2%85b%9Dc%00", "a b\ufffdc"},
		{"", "{\"id\":1,\"description\":\"\x92\"}", "’"},
		{"koi8-r", "{\"id\":1,\"description\":\"\xf0\"}", "П"},
		{"utf-16le", wide(little, `{"id":1,"description":"é"}`), "é"},
		{"utf-16be", "\xfe\xff" + wide(big, `{"id":1,"description":"é"}`), "é"},
		{"utf-8", "\xef\xbb\xbf{\"id\":1,\"description\":\"é\"}", "é"},
	} {
		decode := (*Decoder).Form
		if strings.Contains(tc.body, "{") {
			decode = (*Decoder).JSON
		}
		e, err := decode(new(Decoder), Call{Arrived: arrived, Charset: tc.charset, Body: tc.body})
		require.NoError(t, err, "%+v", tc)
		assert.Equal(t, tc.want, e.Description, "%+v", tc)
	}
	for _, charset := range []string{"klingon", "utf-7", "iso-2022-kr", "replacement", "-"} {
		_, err := new(Decoder).Form(Call{Charset: charset, Body: "id=1"})
		require.ErrorIs(t, err, ErrCharset, charset)
		_, err = new(Decoder).JSON(Call{Charset: charset, Body: `{"id":1}`})
		require.ErrorIs(t, err, ErrCharset, charset)
	}
}
