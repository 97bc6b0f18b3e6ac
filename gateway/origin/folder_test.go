package origin

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestListQuery has the query in the one form that is signed.
func TestListQuery(t *testing.T) {
	long := strings.Repeat("l", 1018) + "/"
	for _, c := range []struct{ name, keyPrefix, folder, after, want string }{
		{"of the root", "", "", "", "prefix="},
		{"below a prefix", "site/v1/", "", "", "prefix=site%2Fv1%2F"},
		{"of a folder", "", "a b/é+/", "", "prefix=a%20b%2F%C3%A9%2B%2F"},
		{"behind an object", "p/", "f/", "f/x y", "prefix=p%2Ff%2F&start-after=p%2Ff%2Fx%20y"},
		{"behind a folder", "p/", "f/", "f/x/", "prefix=p%2Ff%2F&start-after=p%2Ff%2Fx%2F%F4%8F%BF%BF"},
		{"behind the folder's own object", "", "f/", "f/", "prefix=f%2F&start-after=f%2F"},
		{"behind a folder with a long name", "", "", long, "prefix=&start-after=" + long[:1018] + "%2F%F4%8F%BF%BF"},
		{"behind one with the longest", "p/", "", long, "prefix=p%2F&start-after=p%2F" + long[:1018] + "%2F"},
	} {
		f := Fetch{key: []byte(c.folder), after: []byte(c.after), listed: 20}
		want := "delimiter=%2F&encoding-type=url&list-type=2&max-keys=21&" + c.want
		got := string(f.appendListQuery(nil, c.keyPrefix))
		if got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
		q, err := url.ParseQuery(got)
		if err != nil || strings.ReplaceAll(q.Encode(), "+", "%20") != got {
			t.Errorf("%s: the parameters are not in order: %s, %v", c.name, q.Encode(), err)
		}
	}
	f := Fetch{listed: 1000}
	if got := string(f.appendListQuery(nil, "")); !strings.Contains(got, "max-keys=1000&") {
		t.Errorf("more than S3 lists: %s", got)
	}
}

func TestParseFolder(t *testing.T) {
	for _, c := range []struct{ name, list, want string }{
		{"nothing", "", ""},
		{"objects and folders in order", `<CommonPrefixes><Prefix>p/f/b/</Prefix></CommonPrefixes><Contents><Key>p/f/c</Key><Size>7</Size><LastModified>2026-01-02T05:04:05.678+02:00</LastModified></Contents><Contents><Key>p/f/a</Key></Contents>`,
			"a=0@ b/ c=7@2026-01-02T03:04:05Z"},
		{"the folder's own object", `<Contents><Key>p/f/</Key></Contents>`, "marked"},
		{"encoded keys", `<EncodingType>url</EncodingType><Contents><Key>p%2Ff%2Fa+b%2Bc%01%FF</Key></Contents>`, "a b+c\x01\xff=0@"},
		{"keys that are not encoded", `<Contents><Key>p/f/a+b%20</Key></Contents>`, "a+b%20=0@"},
		{"a bad escape", `<EncodingType>url</EncodingType><Contents><Key>p/f/%4</Key></Contents>`, "error"},
		{"a bad escape of a folder", `<EncodingType>url</EncodingType><CommonPrefixes><Prefix>p/f/%4</Prefix></CommonPrefixes>`, "error"},
		{"what is before the place", `<Contents><Key>p/f/0</Key></Contents><CommonPrefixes><Prefix>p/f/0/</Prefix></CommonPrefixes><Contents><Key>p/f/00</Key></Contents>`, "0/ 00=0@"},
		{"keys of others", `<Contents><Key>p/g/x</Key></Contents><Contents><Key>f/x</Key></Contents><Contents><Key>q</Key></Contents>`, ""},
		{"it goes on", `<IsTruncated>true</IsTruncated><Contents><Key>p/f/a</Key></Contents>`, "a=0@ more"},
		{"one more than asked for", `<Contents><Key>p/f/a</Key></Contents><Contents><Key>p/f/b</Key></Contents><Contents><Key>p/f/c</Key></Contents><Contents><Key>p/f/d</Key></Contents>`, "a=0@ b=0@ c=0@ more"},
		{"it goes on with nothing", `<IsTruncated>true</IsTruncated><Contents><Key>p/f/</Key></Contents>`, "error"},
		{"a time that is none", `<Contents><Key>p/f/a</Key><LastModified>yesterday</LastModified></Contents>`, "a=0@"},
		{"a size that is none", `<Contents><Key>p/f/a</Key><Size>many</Size></Contents>`, "error"},
		{"cut off", `<Contents><Key>p/f/a`, "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Fetch{key: []byte("f/"), after: []byte("f/0"), listed: 3}
			doc := xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + c.list + `</ListBucketResult>`
			page, err := f.parseFolder([]byte(doc), "p/")
			var got []string
			if err != nil {
				if got = append(got, "error"); err != errNoList {
					t.Errorf("the error is %v", err)
				}
				page = new(Folder)
			}
			for _, e := range page.Entries {
				text, modified := strings.TrimPrefix(e.Key, "f/"), ""
				if !e.Modified.IsZero() {
					modified = e.Modified.Format("2006-01-02T15:04:05Z07:00")
				}
				if !e.Folder {
					text += fmt.Sprintf("=%d@%s", e.Size, modified)
				}
				got = append(got, text)
			}
			if page.Marked {
				got = append(got, "marked")
			}
			if page.More {
				got = append(got, "more")
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
	for _, doc := range []string{"", "x", "<html></html>", "<ListBucketResult>", "<Error><Code>AccessDenied</Code></Error>"} {
		if _, err := new(Fetch).parseFolder([]byte(doc), ""); err != errNoList {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func FuzzParseFolder(f *testing.F) {
	f.Add(`<ListBucketResult><IsTruncated>true</IsTruncated><EncodingType>url</EncodingType><Contents><Key>p%2Ff%2Fa</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>p/f/b/</Prefix></CommonPrefixes></ListBucketResult>`, "f/", "f/a")
	f.Fuzz(func(t *testing.T, doc, folder, after string) {
		fetch := Fetch{key: []byte(folder), after: []byte(after), listed: 5}
		page, err := fetch.parseFolder([]byte(doc), "p/")
		if err != nil {
			return
		}
		if len(page.Entries) > 5 || page.More && len(page.Entries) == 0 {
			t.Errorf("%d entries, more %t", len(page.Entries), page.More)
		}
		for i, e := range page.Entries {
			if !strings.HasPrefix(e.Key, folder) || e.Key == folder || e.Key <= after || i > 0 && e.Key < page.Entries[i-1].Key {
				t.Errorf("%q is not behind %q in %q", e.Key, after, folder)
			}
		}
	})
}
