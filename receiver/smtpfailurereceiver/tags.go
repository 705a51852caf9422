package smtpfailurereceiver

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// tagFilter selects the tags that may become attributes.
type tagFilter struct{ include, exclude []string }

// slash replaces slashes in patterns and tags, because globs treat them as separators. No tag has
// it.
const slash = "\x00"

func newTagFilter(config TagsConfig) tagFilter {
	replaced := func(patterns []string) []string {
		patterns = slices.Clone(patterns)
		for i := range patterns {
			patterns[i] = strings.ReplaceAll(patterns[i], "/", slash)
		}
		return patterns
	}
	return tagFilter{include: replaced(config.Include), exclude: replaced(config.Exclude)}
}

// match reports whether a tag may become an attribute.
func (f *tagFilter) match(tag string) bool {
	tag = strings.ReplaceAll(tag, "/", slash)
	// Validate has checked the patterns.
	matches := func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, tag) }
	return slices.ContainsFunc(f.include, matches) && !slices.ContainsFunc(f.exclude, matches)
}
