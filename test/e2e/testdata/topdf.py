# topdf.py ADDRESS SOURCE TARGET has the office at that address (host=…,port=…) turn one file into a PDF,
# over one connection.
import os
import sys

import uno
from com.sun.star.beans import PropertyValue


def properties(**values):
    return tuple(PropertyValue(name, 0, value, 0) for name, value in values.items())


address, source, target = sys.argv[1:]
here = uno.getComponentContext()
resolver = here.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", here)
office = resolver.resolve(f"uno:socket,{address};urp;StarOffice.ComponentContext")
desktop = office.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", office)
document = desktop.loadComponentFromURL(uno.systemPathToFileUrl(source), "_blank", 0, properties(Hidden=True))
# A page of HTML is read by an event of the office's own, and it answers before that: stored at once, one in hundreds
# was an empty page; with a load on the machine and the office's first thread at nice 19, 15 of 40.
toolkit = office.ServiceManager.createInstanceWithContext("com.sun.star.awt.Toolkit", office)
toolkit.processEventsToIdle()
web = document.supportsService("com.sun.star.text.WebDocument")
export = "writer_web_pdf_Export" if web else "writer_pdf_Export"
document.storeToURL(uno.systemPathToFileUrl(target), properties(FilterName=export))
document.close(True)
# The usual way out races with a thread of the bridge, and crashes now and then.
os._exit(0)
