package config

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
func parseYAML(file string, data []byte) (body ast.Node, errs Errors) {
	whole := func(problem, fix string) (ast.Node, Errors) {
		return nil, Errors{{File: file, Problem: problem, Fix: fix}}
	}
	if len(data) > maxFileSize {
		return whole("the file is larger than 1 MiB", "make it smaller")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	// goccy/go-yaml v1.19.2 counts a line twice where a comment ends in CRLF.
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if err := checkText(file, data); err != nil {
		return nil, Errors{err}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return whole("the file is empty", "begin with config.example.yaml")
	}

	// The parser may panic on odd input; a reload must survive that.
	defer func() {
		if recover() != nil {
			body, errs = whole("the file is no valid YAML", "check it with a YAML linter")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := checkTokens(file, tokens); err != nil {
		return nil, Errors{err}
	}
	parsed, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Errors{syntaxError(file, err)}
	}
	docs := parsed.Docs
	if len(docs) > 1 {
		e := &Error{File: file, Problem: "the file has more than one YAML document", Fix: "keep one and remove the \"---\" lines"}
		if tk := docs[1].Start; tk != nil {
			e.Line, e.Column = tk.Position.Line, tk.Position.Column
		}
		return nil, Errors{e}
	}
	if len(docs) == 0 || docs[0].Body == nil {
		return whole("the file has no content", "begin with config.example.yaml")
	}
	return docs[0].Body, nil
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
		tooMuch := func(problem, fix string) *Error {
			return &Error{File: file, Line: tk.Position.Line, Column: tk.Position.Column, Problem: problem, Fix: fix}
		}
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
			return tooMuch("YAML tags are not supported", "remove the tag")
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.AliasType:
			onLine++
		case token.MappingValueType:
			if brackets > 0 || tk.Prev == nil {
				break
			}
			onLine++
			if keys[tk.Prev.Position.Column]++; keys[tk.Prev.Position.Column] > maxMapKeys {
				return tooMuch(tooManyKeys, "remove those that are no configuration keys")
			}
		}
		if brackets > maxDepth || onLine > maxDepth {
			return tooMuch("the structure is nested too deeply", "configuration needs no more than a few levels")
		}
	}
	return nil
}

// syntaxError returns err with its position, and with its message if that quotes nothing.
func syntaxError(file string, err error) *Error {
	e := &Error{File: file, Problem: "the file is no valid YAML", Fix: "check it with a YAML linter"}
	var y yaml.Error
	if !errors.As(err, &y) {
		return e
	}
	if tk := y.GetToken(); tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
		e.Fix = "check the indentation, quotes and brackets here and on the line above"
	}
	message := y.GetMessage()
	if strings.ContainsAny(message, "\"\t\n") || strings.HasSuffix(message, "is a reserved character") {
		message = "a character is not allowed here, or a word has no meaning"
	}
	e.Problem = "invalid YAML: " + message
	return e
}
