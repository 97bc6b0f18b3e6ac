package file

import (
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// fileFix says how to fix err, from opening or reading a file.
func fileFix(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "check the path, seen from the working directory"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that the gateway runs as read it, and enter its folders"
	case errors.Is(err, syscall.ENOTDIR):
		return "check the path: one of its folders is a file"
	case errors.Is(err, syscall.EISDIR):
		return "name the file in the folder"
	case errors.Is(err, syscall.ELOOP):
		return "check the symbolic links on the path: they go in circles"
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return "write a path, not what is in the file"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "raise the limit of open files: ulimit -n"
	}
	return "see to the disk or file system that it is on"
}

// modeProblem says why no file of this mode may hold keys; empty if it may. Opening a
// pipe could block for ever, and a reload with it.
func modeProblem(mode fs.FileMode) (problem, fix string) {
	switch {
	case mode.IsRegular():
		return "", ""
	case mode.IsDir():
		return "is a folder", "name the file in it"
	case mode&fs.ModeNamedPipe != 0:
		return "is a pipe", "name a regular file: it is read again at each reload"
	case mode&fs.ModeSocket != 0:
		return "is a socket", "name a regular file"
	}
	return "is a device", "name a regular file"
}

// maxKeyFile bounds the certificate, key and JWKS files.
const maxKeyFile = 1 << 20

// ReadFile returns the content of the file that n names, which is at path.
func (d *Decoder) ReadFile(n *Node, path string) ([]byte, bool) {
	if info, err := os.Stat(path); err == nil {
		if problem, fix := modeProblem(info.Mode()); problem != "" {
			d.Fail(n, d.ShowPath(n)+" "+problem, fix)
			return nil, false
		}
	}
	data, err := readAtMost(path, maxKeyFile)
	if err != nil {
		d.Fail(n, "cannot read "+d.ShowPath(n)+": "+reason(err), fileFix(err))
		return nil, false
	}
	if len(data) > maxKeyFile {
		d.Fail(n, d.ShowPath(n)+" is larger than 1 MiB", "name the right file")
		return nil, false
	}
	return data, true
}

// ShowPath quotes the path in n as written, variables not substituted. It does not show
// a key pasted in place of its path.
func (d *Decoder) ShowPath(n *Node) string {
	if len(n.Text) > 256 || strings.Contains(n.Text, "-----") || strings.ContainsAny(n.Text, "\n\t") {
		return "the file"
	}
	return strconv.Quote(n.Text)
}

// Authorities returns the path in n of a PEM bundle, and its content where it is in use.
// The bundle is for the server at url, the value of key.
func (d *Decoder) Authorities(n *Node, key, url string, inUse bool) (path string, bundle []byte) {
	path, _, ok := d.Text(n)
	switch {
	case !ok:
		return "", nil
	case strings.HasPrefix(strings.ToLower(url), "http:"):
		d.Fail(n, "has no effect: the "+key+" is http", "remove it, or make the "+key+" https")
		return "", nil
	case !inUse:
		return path, nil
	}
	bundle, ok = d.ReadFile(n, path)
	if ok && !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		d.Fail(n, d.ShowPath(n)+" holds no certificate", "name a PEM file with one or more CERTIFICATE blocks")
	}
	return path, bundle
}

// Read returns the content of the configuration file at path, which may be a pipe. The error is
// Errors.
func Read(path string) ([]byte, error) {
	data, err := readAtMost(path, maxFileSize)
	if err != nil {
		return nil, readError(path, err)
	}
	return data, nil
}

// readAtMost returns the content of a file, cut off behind the first byte over most.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// reason returns err's message without the path, which may be secret.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// readError returns the mistake of a configuration file that cannot be read.
func readError(path string, err error) Errors {
	fix := fileFix(err)
	if errors.Is(err, fs.ErrNotExist) {
		fix = "check -config; a path is seen from the working directory"
	}
	return Errors{{File: path, Problem: "cannot read the file: " + reason(err), Fix: fix}}
}
