package smtpfailurereceiver

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// tagFilter says which tags may become attributes.
type tagFilter struct {
	// all reports whether every tag may, which is the default.
	all              bool
	include, exclude []string
}

// slash stands for a slash in patterns and tags, because globs give slashes a meaning that they do not have in a tag. No tag
// holds it.
const slash = "\x00"

func newTagFilter(config TagsConfig) tagFilter {
	unslash := func(patterns []string) []string {
		replaced := make([]string, len(patterns))
		for i, pattern := range patterns {
			replaced[i] = strings.ReplaceAll(pattern, "/", slash)
		}
		return replaced
	}
	return tagFilter{
		all:     len(config.Exclude) == 0 && slices.Contains(config.Include, "*"),
		include: unslash(config.Include),
		exclude: unslash(config.Exclude),
	}
}

// match reports whether a tag may become an attribute.
func (f *tagFilter) match(tag string) bool {
	if f.all {
		return true
	}
	tag = strings.ReplaceAll(tag, "/", slash)
	// The patterns were checked when the configuration was.
	matches := func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, tag) }
	return slices.ContainsFunc(f.include, matches) && !slices.ContainsFunc(f.exclude, matches)
}
