package origin

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Folder is a page of what is directly in a folder. It never changes.
type Folder struct {
	Entries []Entry // behind the key that was asked for, by their keys
	Marked  bool    // an object has the folder's own key: it says that there is the folder
	More    bool    // the list goes on behind the last entry
}

// Entry is an object in a folder, or a folder, under the key that clients have for it. That of a
// folder ends in a slash.
type Entry struct {
	Key      string
	Folder   bool
	Size     int64     // of an object, in bytes
	Modified time.Time // of an object; zero: not known
}

// errNoList says that an answer to a request for a list is none.
var errNoList = &failure{"the origin's answer is no list of objects, or does not say how it goes on", problem.Protocol, remedyNone}

// NewList returns a fetch of a page of a folder, whose key ends in a slash or is empty: of the
// entries behind the key after, which may be empty, at most size of them. The other arguments are
// those of NewFetch. Use List, in the place of Send.
func (b *Bucket) NewList(notes *observe.Upstream, folder, after []byte, size int, id, trace []byte) *Fetch {
	f := b.NewFetch(notes, folder, nil, id, trace)
	f.list(after, size)
	return f
}

// list makes f a fetch of a page of the folder that its key names.
func (f *Fetch) list(after []byte, size int) {
	f.listed = size
	f.after = append(f.after, after...)
	// Folders fail by themselves, as objects do, and none of them for an object.
	f.listQuery = append(append(f.listQuery[:0], "\x00list\x00"...), f.key...)
	f.hash = pool.KeyOf(f.listQuery, f.listQuery, f.after)
}

// List asks for the page, as often as Send does, and reads it. Where it returns neither a page
// nor an error, the origin has refused; see OriginError.
func (f *Fetch) List() (*Folder, error) {
	for {
		if err := f.Send(request.Plan{}, false); err != nil || f.OriginError != nil {
			return nil, err
		}
		if f.Answer.Header.StatusCode() != fasthttp.StatusOK {
			return nil, errNoList
		}
		doc, err := f.Answer.Document(listLimit)
		if err == nil {
			return f.parseFolder(doc, f.replica.S3.KeyPrefix)
		}
		if !f.AwaitRetry(err) {
			return nil, err
		}
	}
}

// MayNotList tells whether the origin has refused to list, as it does where the credential
// lacks s3:ListBucket.
func (f *Fetch) MayNotList() bool { return f.OriginError == s3error.Denied }

// behindAll is the last of all characters.
const behindAll = "\U0010FFFF"

// appendListQuery appends the query for the page, where keyPrefix is before each key.
func (f *Fetch) appendListQuery(dst []byte, keyPrefix string) []byte {
	dst = append(dst, "delimiter=%2F&encoding-type=url&list-type=2&max-keys="...)                        // keys may have what XML cannot carry
	dst = append(strconv.AppendInt(dst, int64(min(f.listed+1, upstream.MostListed)), 10), "&prefix="...) // one more, as one may not count
	dst = sign.AppendQueryComponent(sign.AppendQueryComponent(dst, keyPrefix), f.key)
	if len(f.after) == 0 {
		return dst
	}
	dst = sign.AppendQueryComponent(sign.AppendQueryComponent(append(dst, "&start-after="...), keyPrefix), f.after)
	if f.after[len(f.after)-1] == '/' && len(f.after) > len(f.key) && len(keyPrefix)+len(f.after)+len(behindAll) <= request.MaxKeyLen {
		// A folder: all in it is behind its key, so that some servers would list it again.
		dst = sign.AppendQueryComponent(dst, behindAll)
	}
	return dst
}

// folderList is an answer to ListObjectsV2 with a delimiter.
type folderList struct {
	XMLName      xml.Name
	IsTruncated  bool
	EncodingType string
	Contents     []struct {
		Key          string
		Size         int64
		LastModified string
	}
	CommonPrefixes []struct{ Prefix string }
}

// parseFolder reads the page, where keyPrefix is before each key.
func (f *Fetch) parseFolder(doc []byte, keyPrefix string) (*Folder, error) {
	folder, after := string(f.key), string(f.after)
	var list folderList
	if err := xml.Unmarshal(doc, &list); err != nil || list.XMLName.Local != "ListBucketResult" {
		return nil, errNoList
	}
	page := &Folder{More: list.IsTruncated}
	add := func(e Entry) (err error) {
		if list.EncodingType == "url" {
			if e.Key, err = url.QueryUnescape(e.Key); err != nil {
				return errNoList
			}
		}
		key, ours := strings.CutPrefix(e.Key, keyPrefix)
		switch e.Key = key; {
		case !ours || !strings.HasPrefix(key, folder): // nobody has asked for it
		case key == folder:
			page.Marked = true
		case key > after:
			page.Entries = append(page.Entries, e)
		}
		return nil
	}
	for _, o := range list.Contents {
		modified, _ := time.Parse(time.RFC3339, o.LastModified)
		if err := add(Entry{Key: o.Key, Size: o.Size, Modified: modified.UTC()}); err != nil {
			return nil, err
		}
	}
	for _, p := range list.CommonPrefixes {
		if err := add(Entry{Key: p.Prefix, Folder: true}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(page.Entries, func(x, y Entry) int { return strings.Compare(x.Key, y.Key) })
	if len(page.Entries) > f.listed {
		page.Entries, page.More = page.Entries[:f.listed], true
	}
	if page.More && len(page.Entries) == 0 {
		return nil, errNoList
	}
	return page, nil
}

// ListURL returns the address that the page of a folder behind a key is asked for at, for people.
func (r *Replica) ListURL(folder, after []byte, size int) string {
	f := Fetch{key: folder, after: after, listed: size}
	return r.Address.URL(bytes.Clone(r.Address.bucketPath), f.appendListQuery(nil, r.S3.KeyPrefix))
}
