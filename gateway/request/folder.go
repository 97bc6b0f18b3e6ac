package request

import (
	"bytes"
	"unicode/utf8"

	"yatagarasu/gateway/problem"
	"yatagarasu/sign"
)

// What can be wrong with the place where a page of a folder is to begin.
var (
	targetAfterTooLong = badTarget("start-after is longer than an object key")
	targetAfterUTF8    = badTarget("start-after is not valid UTF-8")
	targetAfterFolder  = badTarget("start-after is no key in the folder that is listed")

	// UnknownPlace refuses a text of Target.Continue that means nothing here.
	UnknownPlace = badTarget("continue is not what a page of this folder has given, or no longer holds; begin with the first page")
)

// StartAfter returns the key behind which a page of a folder is to begin: the parameter
// start-after of the query, decoded once ('+' is a plus), nil without one. It may be what no
// client can ask for, as the keys of others are. A key in a folder of the folder stands for that:
// the page begins behind all that is in it.
func (t *Target) StartAfter(folder []byte, keys Keys) (after []byte, p *problem.Problem) {
	after, p = t.parameter("start-after")
	if p != nil {
		return nil, p
	}
	switch {
	case after == nil:
		return nil, nil
	case len(after) > MaxKeyLen-keys.Prefix:
		return nil, targetAfterTooLong
	case !utf8.Valid(after):
		return nil, targetAfterUTF8
	case !bytes.HasPrefix(after, folder):
		return nil, targetAfterFolder
	}
	if i := bytes.IndexByte(after[len(folder):], '/'); i >= 0 {
		after = after[:len(folder)+i+1]
	}
	return after, nil
}

// Continue returns the text of the parameter continue, which a page has given for the place where
// the next goes on; nil: there is none.
func (t *Target) Continue() (text []byte, p *problem.Problem) { return t.parameter("continue") }

// parameter returns the value of a parameter of the query, decoded once; nil: there is none.
func (t *Target) parameter(name string) (value []byte, p *problem.Problem) {
	for param := range bytes.SplitSeq(t.Query, []byte("&")) {
		key, raw, _ := bytes.Cut(param, []byte("="))
		if string(key) != name {
			continue
		}
		if value != nil {
			return nil, targetQueryTwice
		}
		value = make([]byte, 0, len(raw))
		for i := 0; i < len(raw); i++ {
			c := raw[i]
			if c == '%' {
				var ok bool
				if c, ok = unhex(raw[i:]); !ok {
					return nil, targetQueryEscape
				}
				i += 2
			}
			value = append(value, c)
		}
	}
	return value, nil
}

// IsTarget tells whether clients can ask for a key: a target that names it is not refused, see
// Target.Parse and CheckKey.
func IsTarget(key string, keys Keys) bool {
	if len(key) == 0 || !utf8.ValidString(key) || CheckKey(StringBytes(key), keys) != nil {
		return false
	}
	for i := range len(key) {
		if isControl(key[i]) {
			return false
		}
	}
	return !hasDotSegment(append([]byte{'/'}, key...))
}

// FolderLocation returns the address of a folder whose raw target does not end in a slash, relative
// to that target, with its query. It has neither a scheme nor a host, whatever the target has, and
// is encoded once, however the target was.
func FolderLocation(raw []byte) []byte {
	_, query, queried := bytes.Cut(raw, []byte("?"))
	path := RawPath(raw)
	var name []byte // the last segment, which may have encoded slashes
	for rest := path[bytes.LastIndexByte(path, '/')+1:]; len(rest) > 0; {
		c, ok := rest[0], false
		if c == '%' {
			if c, ok = unhex(rest); ok {
				rest = rest[2:]
			}
		}
		name, rest = append(name, c), rest[1:]
	}
	location := append(sign.AppendPath([]byte("./"), bytes.TrimRight(name, "/")), '/')
	if queried {
		location = append(append(location, '?'), query...)
	}
	return location
}

// EndsInSlash tells whether the path of a raw target does, as it is written: addresses relative to
// it are then in the folder.
func EndsInSlash(raw []byte) bool { return bytes.HasSuffix(RawPath(raw), slash) }
