package file

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// maxNodes bounds the tree after aliases were expanded.
const maxNodes = 200_000

// Kind is the type of a node in YAML.
type Kind uint8

// The types of nodes.
const (
	Null Kind = iota
	Bool
	Number // Text is as written: an integer or float of any notation
	String
	List
	Map
)

// String returns k for a message, as a noun.
func (k Kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a string", "a list", "a mapping"}[k]
}

// Node is one value of the file with its place.
type Node struct {
	Kind Kind
	Line int
	Path string // such as buckets[2].auth

	Text  string  // of a scalar, as written
	Items []*Node // of a list

	column  int
	entries []entry // of a mapping, each key once
}

// entry is one key of a mapping.
type entry struct {
	key          string
	line, column int
	value        *Node
}

// tree converts the parser's tree into nodes, following aliases and merge keys.
type tree struct {
	d       *Decoder
	anchors map[string]ast.Node
	open    map[string]bool // anchors being expanded
	left    int             // number of nodes that may still be made
	depth   int             // of the node being made
}

// convert returns the node for n at path. It returns nil after a mistake.
func (t *tree) convert(n ast.Node, path string) *Node {
	if t.left == 0 {
		return nil
	}
	t.left--
	t.depth++
	defer func() { t.depth-- }()
	out := &Node{Path: path}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.Line, out.column = tk.Position.Line, tk.Position.Column
	}
	if t.left == 0 {
		t.d.Fail(out, "aliases make the file too large", "write the values out, or use fewer anchors")
		return nil
	}
	if t.depth > maxDepth {
		t.d.Fail(out, "the structure is nested too deeply", "configuration needs no more than a few levels")
		return nil
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		out.Kind, out.Text = Bool, strconv.FormatBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.Kind, out.Text = Number, n.GetToken().Value
	case *ast.StringNode:
		out.Kind, out.Text = String, n.Value
	case *ast.LiteralNode:
		out.Kind, out.Text = String, n.Value.Value
	case *ast.SequenceNode:
		out.Kind = List
		for i, item := range n.Values {
			if c := t.convert(item, path+"["+strconv.Itoa(i)+"]"); c != nil {
				out.Items = append(out.Items, c)
			}
		}
	case *ast.MappingNode:
		t.convertMap(out, n.Values)
	case *ast.MappingValueNode:
		t.convertMap(out, []*ast.MappingValueNode{n})
	case *ast.AnchorNode:
		t.anchors[n.Name.GetToken().Value] = n.Value
		return t.convert(n.Value, path)
	case *ast.AliasNode:
		return t.convertAlias(out, n)
	case *ast.NullNode:
		out.Kind = Null
	default:
		t.d.Fail(out, "this kind of YAML value is not supported", "write a plain value")
		return nil
	}
	return out
}

// convertAlias returns the anchored node at the alias's place in the tree, but
// with the positions of the anchor, where its mistakes are.
func (t *tree) convertAlias(at *Node, n *ast.AliasNode) *Node {
	name := n.Value.GetToken().Value
	target, ok := t.anchors[name]
	switch {
	case !ok:
		t.d.Fail(at, "the alias names no anchor above it", "define the anchor first")
		return nil
	case t.open[name]:
		t.d.Fail(at, "the alias is inside its own anchor", "remove it")
		return nil
	}
	t.open[name] = true
	defer delete(t.open, name)
	return t.convert(target, at.Path)
}

func (t *tree) convertMap(out *Node, values []*ast.MappingValueNode) {
	out.Kind = Map
	if len(values) > maxMapKeys {
		t.d.Fail(out, tooManyKeys, "remove those that are no configuration keys")
		return
	}
	var merged []entry
	for i, v := range values {
		tk := v.Key.GetToken()
		if i == 0 {
			// A mapping's own token is its first colon.
			out.Line, out.column = tk.Position.Line, tk.Position.Column
		}
		e := entry{key: tk.Value, line: tk.Position.Line, column: tk.Position.Column}
		at := &Node{Line: e.line, column: e.column, Path: out.Path}
		if v.Key.IsMergeKey() {
			merged = append(merged, t.convertMerge(at, v.Value)...)
			continue
		}
		if k, ok := v.Key.(*ast.StringNode); ok {
			e.key = k.Value
		} else {
			t.d.Fail(at, "a key is no plain name", "use only the keys of docs/CONFIGURATION.md")
			continue
		}
		if first := out.find(e.key); first != nil {
			at.Path = join(out.Path, printable(e.key))
			t.d.Fail(at, "the key is there twice, first in line "+strconv.Itoa(first.line), "remove one of them")
			continue
		}
		e.value = t.convert(v.Value, join(out.Path, printable(e.key)))
		if e.value != nil {
			out.entries = append(out.entries, e)
		}
	}
	for _, e := range merged {
		if len(out.entries) > maxMapKeys {
			t.d.Fail(out, tooManyKeys, "merge fewer mappings")
			return
		}
		if out.find(e.key) == nil {
			out.entries = append(out.entries, e)
		}
	}
}

// convertMerge returns the entries that a merge key brings in (YAML 1.1, merge).
func (t *tree) convertMerge(at *Node, value ast.Node) []entry {
	n := t.convert(value, at.Path)
	if n == nil {
		return nil
	}
	if n.Kind == Map {
		return n.entries
	}
	if n.Kind != List {
		t.d.Fail(at, "the merge key merges no mapping", "merge an alias of a mapping")
	}
	var all []entry
	for _, item := range n.Items {
		if item.Kind != Map {
			t.d.Fail(at, "the merge key merges no mapping", "merge aliases of mappings")
		}
		all = append(all, item.entries...)
	}
	return all
}

// IsEmpty reports whether n is a mapping without keys.
func (n *Node) IsEmpty() bool { return n.Kind == Map && len(n.entries) == 0 }

// find returns the entry of key, nil without one.
func (n *Node) find(key string) *entry {
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
