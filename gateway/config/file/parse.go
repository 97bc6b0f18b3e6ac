package file

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a file. They keep a hostile or broken one from costing more than
// a moment; the largest honest file is far below them.
const (
	maxFileSize = 1 << 20
	maxDepth    = 32 // of brackets, and of block structure on one line
	maxMapKeys  = 1000
)

const tooManyKeys = "there are too many keys in one mapping"

// parseYAML returns the one document in data. Its error never quotes the file:
// the parser's own excerpts can show a secret.
func parseYAML(file string, data []byte) (body ast.Node, err *Error) {
	if len(data) > maxFileSize {
		return nil, &Error{File: file, Problem: "the file is larger than 1 MiB", Fix: "make it smaller"}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	// goccy/go-yaml v1.19.2 counts a line twice where a comment ends in CRLF.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if err := checkText(file, data); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &Error{File: file, Problem: "the file is empty", Fix: "begin with config.example.yaml"}
	}

	// The parser may panic on odd input; a reload must survive that.
	defer func() {
		if recover() != nil {
			body, err = nil, syntaxError(file, nil)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := checkTokens(file, tokens); err != nil {
		return nil, err
	}
	parsed, problem := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	switch {
	case problem != nil:
		return nil, syntaxError(file, problem)
	case len(parsed.Docs) > 1:
		return nil, errorAt(file, parsed.Docs[1].Start, "the file has more than one YAML document", "keep one and remove the \"---\" lines")
	case len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil:
		return nil, &Error{File: file, Problem: "the file has no content", Fix: "begin with config.example.yaml"}
	}
	return parsed.Docs[0].Body, nil
}

// errorAt returns a mistake at a token, which may be nil.
func errorAt(file string, tk *token.Token, problem, fix string) *Error {
	e := &Error{File: file, Problem: problem, Fix: fix}
	if tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
	}
	return e
}

// checkText reports the first byte that no YAML file may contain.
func checkText(file string, data []byte) *Error {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return &Error{File: file, Line: line, Column: column, Problem: "the text is not UTF-8", Fix: "save the file as UTF-8"}
		}
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return &Error{File: file, Line: line, Column: column,
				Problem: fmt.Sprintf("the control character U+%04X is not allowed", r), Fix: "remove it"}
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return nil
}

// checkTokens reports structure that would make the parser recurse deeply or take
// quadratic time, and tags, which no key needs.
func checkTokens(file string, tokens token.Tokens) *Error {
	var (
		brackets, line, onLine int
		keys                   = map[int]int{} // column -> keys of the mapping open there
	)
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, onLine = tk.Position.Line, 0
			for column := range keys {
				if column > tk.Position.Column {
					delete(keys, column)
				}
			}
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			brackets++
		case token.MappingEndType, token.SequenceEndType:
			brackets--
		case token.TagType:
			return errorAt(file, tk, "YAML tags are not supported", "remove the tag")
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.AliasType:
			onLine++
		case token.MappingValueType:
			if brackets > 0 || tk.Prev == nil {
				break
			}
			onLine++
			if keys[tk.Prev.Position.Column]++; keys[tk.Prev.Position.Column] > maxMapKeys {
				return errorAt(file, tk, tooManyKeys, "remove those that are no configuration keys")
			}
		}
		if brackets > maxDepth || onLine > maxDepth {
			return errorAt(file, tk, "the structure is nested too deeply", "configuration needs no more than a few levels")
		}
	}
	return nil
}

// syntaxError returns err with its position, and with its message if that quotes nothing.
func syntaxError(file string, err error) *Error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return errorAt(file, nil, "the file is no valid YAML", "check it with a YAML linter")
	}
	fix := "check it with a YAML linter"
	if y.GetToken() != nil {
		fix = "check the indentation, quotes and brackets here and on the line above"
	}
	message := y.GetMessage()
	if strings.ContainsAny(message, "\"\t\n") || strings.HasSuffix(message, "is a reserved character") {
		message = "a character is not allowed here, or a word has no meaning"
	}
	return errorAt(file, y.GetToken(), "invalid YAML: "+message, fix)
}
