#!/usr/bin/env python3
"""The reference from the public headers: one HTML page, and a man page per function.

Usage: api_reference.py [--html FILE] [--man DIRECTORY] HEADER...

What is documented is what a header says: the essay on top of it, the comment right above each
declaration, the declaration itself. A function without a comment of its own is an error: the
exit status is 1 and the function is named. Only python3 is needed. As a meson install script it
puts relative paths below the installation's prefix.

The headers are regular C, laid out by clang-format, so a small scanner is enough: comments,
preprocessor lines and declarations that end in ';' or '}' outside of braces.
"""
import argparse
import html
import os
import re
import sys
import textwrap

COMMENT = re.compile(r'/\*(.*?)\*/', re.S)
SECTION = re.compile(r'/\* -+ (.*?) -+ \*/')
FUNCTION = re.compile(r'\b(manta_[a-z0-9_]+)\s*\(')
MACRO = re.compile(r'#define\s+(MANTA_[A-Z0-9_]*[A-Z0-9]|manta_[a-z0-9_]*[a-z0-9])\b(?:\([^)]*\))?')


class Entry:
    """One documented thing: kind is function, type, macro or section."""

    def __init__(self, kind, name, code, doc):
        self.kind, self.name, self.code, self.doc = kind, name, code, doc


class Header:
    def __init__(self, path):
        self.name = 'manta/' + os.path.basename(path)
        self.entries = []
        with open(path, encoding='utf-8') as file:
            self.text = file.read()
        first = COMMENT.match(self.text)
        self.doc = plain(first.group(1)) if first else ''
        scan(self, first.end() if first else 0)


def plain(comment):
    """A comment's text, without its stars, indentation kept."""
    lines = [re.sub(r'^\s*\* ?', '', line) for line in comment.strip().split('\n')]
    return '\n'.join(line.rstrip() for line in lines).strip('\n ')


def end_of_declaration(text, at):
    """The position after a declaration's ';', or after the '}' of a function body."""
    depth = 0
    i = at
    while i < len(text):
        if text.startswith('/*', i):
            i = text.index('*/', i) + 2
            continue
        depth += (text[i] == '{') - (text[i] == '}')
        if depth == 0 and text[i] == ';':
            return i + 1
        if depth == 0 and text[i] == '}' and text[at:].startswith(('static inline', 'MANTA_GENERATED_', 'extern "C++"')):
            return i + 1
        i += 1
    return len(text)


def end_of_directive(text, at):
    """The position after a preprocessor line with its continuations."""
    end = text.find('\n', at)
    while end > 0 and text[end - 1] == '\\':
        end = text.find('\n', end + 1)
    return len(text) if end < 0 else end


def add_macro(header, directive, doc):
    match = MACRO.match(directive)
    if match and doc and match.group(1) not in [e.name for e in header.entries]:
        is_value = '\\' not in directive and '(' not in match.group(0)
        code = directive if is_value else match.group(0)
        header.entries.append(Entry('macro', match.group(1), code, doc))


def add_declaration(header, code, doc):
    signature = code.split('{')[0] if code.startswith('static inline') else code
    function = FUNCTION.search(re.sub(r'__attribute__\(\(.*?\)\)', '', signature))
    if code.startswith('static inline') and function and function.group(1).endswith('_'):
        return  # internal to the header
    if code.startswith(('MANTA_API', 'static inline')) and function:
        signature = re.sub(r'\s+', ' ', signature.strip().rstrip(';'))
        signature = re.sub(r'^(MANTA_API|static inline) ', '', signature)
        signature = re.sub(r' MANTA_PRINTF\(.*\)$', '', signature)
        header.entries.append(Entry('function', function.group(1), signature + ';', doc))
    elif code.startswith('typedef'):
        name = re.findall(r'manta_[a-z0-9_]+', COMMENT.sub('', code))[-1]
        named = re.search(r'\(\*(manta_[a-z0-9_]+)\)', code)
        name = named.group(1) if named else name
        if name.endswith('_'):
            return  # internal to the header
        header.entries.append(Entry('type', name, code, doc))
    elif code.startswith('enum'):
        header.entries.append(Entry('type', code.split()[1], code, doc))


def scan(header, at):
    """Walks the text; a comment belongs to what follows without an empty line."""
    text, doc, doc_end = header.text, '', -1
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        own = doc if doc_end >= 0 and '\n\n' not in text[doc_end:at] else ''
        if text.startswith('/*', at):
            match = COMMENT.match(text, at)
            section = SECTION.match(text, at)
            if section:
                header.entries.append(Entry('section', section.group(1), '', ''))
                doc, doc_end = '', -1
            else:
                doc, doc_end = plain(match.group(1)), match.end()
            at = match.end()
            continue
        if text[at] == '#':
            end = end_of_directive(text, at)
            if text.startswith('#define', at):
                add_macro(header, text[at:end], own)
                doc_end = -1
        elif text.startswith('extern "C"', at) or text[at] == '}':
            end = end_of_directive(text, at)
        else:
            end = end_of_declaration(text, at)
            add_declaration(header, text[at:end], own)
            doc_end = -1
        at = end


def blocks(doc):
    """(is_code, text) for each paragraph and each indented block."""
    for part in re.split(r'\n\n', doc):
        is_code = all(line.startswith('    ') for line in part.split('\n') if line)
        if part.strip():
            yield is_code, textwrap.dedent(part) if is_code else part.strip()


def merged(parts):
    """Indented blocks next to each other are one."""
    done = []
    for is_code, text in parts:
        if is_code and done and done[-1][0]:
            done[-1] = (True, done[-1][1] + '\n\n' + text)
        else:
            done.append((is_code, text))
    return done


# ---- HTML ----

STYLE = '''body{font:16px/1.5 sans-serif;max-width:56em;margin:2em auto;padding:0 1em;color:#222}
pre{background:#f4f4f2;padding:.6em .8em;overflow-x:auto;font-size:14px;line-height:1.4}
h1{font-size:1.6em}h2{margin-top:2.2em;border-bottom:1px solid #ccc}h4{margin:1.6em 0 .3em}
nav{columns:3;font-size:14px}nav a{display:block}a{color:#05567a;text-decoration:none}'''


def html_doc(doc):
    tags = {True: 'pre', False: 'p'}
    return ''.join(f'<{tags[c]}>{html.escape(t)}</{tags[c]}>\n' for c, t in merged(blocks(doc)))


def html_entry(entry):
    if entry.kind == 'section':
        return f'<h3>{html.escape(entry.name)}</h3>\n'
    return (f'<h4 id="{entry.name}">{entry.name}</h4>\n<pre>{html.escape(entry.code)}</pre>\n'
            + html_doc(entry.doc))


def write_html(path, headers):
    names = sorted({e.name for h in headers for e in h.entries if e.kind != 'section'},
                   key=lambda name: name.lower())
    page = ['<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Manta reference</title>'
            f'<style>{STYLE}</style></head><body>\n<h1>Manta reference</h1>\n<nav>']
    page += [f'<a href="#{name}">{name}</a>' for name in names]
    page.append('</nav>\n')
    for header in headers:
        page.append(f'<h2>&lt;{header.name}&gt;</h2>\n' + html_doc(header.doc))
        page += [html_entry(entry) for entry in header.entries]
    page.append('</body></html>\n')
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(''.join(page))


# ---- man ----

def roff(text):
    """Text that troff prints as it is."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    return re.sub(r"^([.'])", r'\\&\1', text, flags=re.M)


def man_doc(doc):
    parts = []
    for is_code, text in merged(blocks(doc)):
        parts.append(f'.PP\n.nf\n.RS 4\n{roff(text)}\n.RE\n.fi\n' if is_code else f'.PP\n{roff(text)}\n')
    return ''.join(parts)


def first_sentence(doc):
    return re.split(r'(?<=[.])\s', re.sub(r'\s+', ' ', doc), maxsplit=1)[0].rstrip('.')


def write_page(directory, name, synopsis, doc, see):
    with open(os.path.join(directory, name + '.3'), 'w', encoding='utf-8') as file:
        file.write(f'.TH {name.upper()} 3 "" "Manta" "Manta reference"\n.SH NAME\n'
                   f'{name} \\- {roff(first_sentence(doc))}\n.SH SYNOPSIS\n.nf\n{roff(synopsis)}\n.fi\n'
                   f'.SH DESCRIPTION\n{man_doc(doc)}.SH SEE ALSO\n{roff(see)}\n')


def write_man(directory, headers):
    os.makedirs(directory, exist_ok=True)
    for header in headers:
        base = os.path.basename(header.name)[:-2]
        overview = 'manta' if base == 'manta' else 'manta_' + base + '.h'
        include = f'#include <{header.name}>'
        see = 'manta(3)' if overview == 'manta' else f'{overview}(3), manta(3)'
        write_page(directory, overview, include, header.doc, 'manta_task.h(3), manta_rng.h(3), manta_error.h(3)')
        for entry in header.entries:
            if entry.kind == 'function' or entry.code.startswith(f'#define {entry.name}('):
                write_page(directory, entry.name, f'{include}\n\n{entry.code}', entry.doc, see)


def complain(headers):
    """Names what lacks a sentence; the number of complaints."""
    missing = 0
    for header in headers:
        for entry in header.entries:
            if entry.kind == 'function' and not re.search(r'\w.*\.', entry.doc, re.S):
                print(f'{header.name}: {entry.name} has no sentence in a comment right above it', file=sys.stderr)
                missing += 1
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--html')
    parser.add_argument('--man')
    parser.add_argument('headers', nargs='+')
    args = parser.parse_args()
    prefix = os.environ.get('MESON_INSTALL_DESTDIR_PREFIX', '')
    headers = [Header(path) for path in args.headers]
    if complain(headers):
        return 1
    if args.html:
        write_html(os.path.join(prefix, args.html), headers)
    if args.man:
        write_man(os.path.join(prefix, args.man), headers)
    return 0


if __name__ == '__main__':
    sys.exit(main())
