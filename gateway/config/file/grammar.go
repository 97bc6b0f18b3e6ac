package file

import (
	"maps"
	"slices"
)

// Grammar is what the blocks of a file may have. Nothing writes to one.
type Grammar struct {
	Blocks []Block

	// Forms are the forms of texts, by the names that the tags of fields have for them; see
	// Decoder.Fill.
	Forms map[string]Form
}

// Block is a mapping of a file.
type Block struct {
	// Path is the block's, such as "server.limits". That of a list's items ends in "[]".
	Path string

	// Keys are in the order in which they are documented.
	Keys []string
}

// Form checks a text and returns the form that it has in the configuration, or what is wrong
// with it, and the fix.
type Form func(text string) (form, problem, fix string)

// Keys returns the keys of the block at path; nil if there is none.
func (g *Grammar) Keys(path string) []string {
	if i := slices.IndexFunc(g.Blocks, func(b Block) bool { return b.Path == path }); i >= 0 {
		return g.Blocks[i].Keys
	}
	return nil
}

// Join returns the grammar of files that have the blocks of all of parts.
func Join(parts ...Grammar) Grammar {
	all := Grammar{Forms: make(map[string]Form)}
	for _, g := range parts {
		all.Blocks = append(all.Blocks, g.Blocks...)
		maps.Copy(all.Forms, g.Forms)
	}
	return all
}
