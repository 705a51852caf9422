package smtpfailurereceiver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Patterns mean what they mean in a shell, but for slashes, which are characters as any other.
func TestTagPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern  string
		yes, not []string
	}{
		{"*", []string{"a", "a/b", "é", "a\nb"}, nil},
		{"**", []string{"a", "a/b"}, nil},
		{"news", []string{"news"}, []string{"News", "newsletter", "a/news"}},
		{"news*", []string{"news", "news/nl", "newsletter"}, []string{"oldnews"}},
		{"*/nl", []string{"news/nl", "a/b/nl", "/nl"}, []string{"nl"}},
		{"a**b", []string{"ab", "a/x/b"}, []string{"a/x"}},
		{"?", []string{"a", "é", "/", "📧"}, []string{"", "ab"}},
		{"[!a]*", []string{"beta", "/a", "éa"}, []string{"alpha", "a"}},
		{"[^a]*", []string{"beta"}, []string{"alpha"}},
		{"[!a-cx]", []string{"d", "é"}, []string{"a", "b", "c", "x", "dd"}},
		{"[a-c]x[!0-9]", []string{"bxy"}, []string{"bx1", "dxy"}},
		{"[!/]*", []string{"a"}, []string{"/a"}},
		{"a[!]*", nil, []string{"a"}},
		{`\[!a]`, []string{"[!a]"}, []string{"b"}},
		{`a\*`, []string{"a*"}, []string{"ab"}},
		{"{news,sale}-*", []string{"news-1", "sale-1"}, []string{"test-1"}},
	} {
		filter := newTagFilter(TagsConfig{Include: []string{tc.pattern}})
		for _, tag := range tc.yes {
			assert.True(t, filter.match(tag), "%q and %q", tc.pattern, tag)
		}
		for _, tag := range tc.not {
			assert.False(t, filter.match(tag), "%q and %q", tc.pattern, tag)
		}
	}
	whole := newTagFilter(TagsConfig{Include: []string{"*"}, Exclude: []string{"*-internal"}})
	assert.False(t, whole.match(strings.Repeat("x", 1000)+"-internal"))
}
