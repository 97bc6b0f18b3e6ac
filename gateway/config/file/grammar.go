package file

import "maps"

// Grammar is what the blocks of a file may have. Nothing writes to one.
type Grammar struct {
	// Keys are those of each block, in the order in which they are documented. The block of
	// a list's items ends in "[]".
	Keys map[string][]string

	// Forms are the forms of texts, by the names that the tags of fields have for them; see
	// Decoder.Fill.
	Forms map[string]Form
}

// Form checks a text and returns the form that it has in the configuration, or what is wrong
// with it, and the fix.
type Form func(text string) (form, problem, fix string)

// Join returns the grammar of files that have the blocks of all of parts.
func Join(parts ...Grammar) Grammar {
	all := Grammar{make(map[string][]string), make(map[string]Form)}
	for _, g := range parts {
		maps.Copy(all.Keys, g.Keys)
		maps.Copy(all.Forms, g.Forms)
	}
	return all
}
